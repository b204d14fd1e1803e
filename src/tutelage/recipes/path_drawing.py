"""Paths from several samplers: drawn, graded, known by their keys, and made into examples for another model.

A sampler is whatever a bench can invite: a folder, a hub name, an adapter, `primer`, `server:URL`, or a recording
(`replay:FILE`). One that is named several times draws differently each time; a recording gives the same again. What
another tokenizer wrote is tokenized again, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tutelage.config.settings import ProgramSettings
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench
from tutelage.recipes.program_stage import open_runner, sample_styled
from tutelage.recipes.styles import styled, styled_prompter
from tutelage.records import Completion, Example, Problem, SamplingParams, Verdict, digest, record_id
from tutelage.selection.diversity import Path
from tutelage.selection.paths import path_of
from tutelage.text.programs import Style, parts_of
from tutelage.text.prompts import Prompter, tokenizer_digest


class DrawingSettings(Protocol):
    """The settings that say how paths are drawn."""

    seed: int
    num_samples: int
    temperature: float
    top_p: float
    max_new_tokens: int
    max_programs: int
    styles: list[Style]


@dataclass
class Drawn:
    """What one sampler wrote.

    Args:
        name: the sampler's, different from every other's in the run.
        seat: the bench that it sits at.
        completions: all, style by style.
        verdicts: by completion id.
        style_of: by completion id, the style that was asked for.
    """

    name: str
    seat: Bench
    completions: list[Completion] = field(default_factory=list)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    style_of: dict[str, Style] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Tokens that it wrote."""
        return sum(len(completion.token_ids) for completion in self.completions)

    @property
    def right(self) -> list[Completion]:
        """Its right solutions, in canonical order."""
        return [c for c in self.completions if self.verdicts[c.id].is_correct]


def draw(config: DrawingSettings, bench: Bench, names: Sequence[str], problems: Sequence[Problem]) -> list[Drawn]:
    """`num_samples` paths of each problem, in each style, from each sampler; graded.

    Args:
        names: models that are invited; the run's own is named "".
    """
    drawn = []
    params = SamplingParams(temperature=config.temperature, top_p=config.top_p, max_new_tokens=config.max_new_tokens)
    assert isinstance(config, ProgramSettings)
    with open_runner(config, bench.run) as runner:
        for number, (name, label) in enumerate(zip(names, labels_of(names), strict=True), start=1):
            seat = bench.invite(name) if name else bench
            one = Drawn(label, seat)
            for style in config.styles:
                plan = stages.SamplingPlan(f"draw{number}-{style}", params, config.num_samples, config.seed)
                made = sample_styled(
                    seat, seat.base, problems, plan, style=style, runner=runner, max_programs=config.max_programs
                )
                asked = styled(seat, style)
                one.verdicts |= stages.grade(asked, problems, made, name=f"draw{number}-{style}-grade")
                one.style_of |= dict.fromkeys((c.id for c in made), style)
                one.completions += made
            drawn.append(one)
    return drawn


def labels_of(names: Sequence[str]) -> list[str]:
    """A different name for each sampler: the last part of a path, numbered where it comes again.

    >>> labels_of(["models/a", "models/a", "primer", "", "replay:texts/b.jsonl.gz"])
    ['a', 'a#2', 'primer', 'model', 'b']
    """
    seen: dict[str, int] = {}
    labels = []
    for name in names:
        short = name if name.startswith("server:") else name.rstrip("/").rpartition("/")[2]
        if name.startswith("replay:"):
            short = short.removeprefix("replay:").removesuffix(".gz").removesuffix(".jsonl")
        short = short or "model"
        seen[short] = seen.get(short, 0) + 1
        labels.append(short if seen[short] == 1 else f"{short}#{seen[short]}")
    return labels


def paths_by_problem(completions: Iterable[Completion], sampler: str) -> dict[str, list[Path]]:
    """Each problem's solutions as paths, in order."""
    found: dict[str, list[Path]] = {}
    for completion in completions:
        found.setdefault(completion.problem_id, []).append(path_of(completion, sampler=sampler))
    return found


def examples_of_paths(
    bench: Bench, drawn: Sequence[Drawn], kept: Mapping[str, Sequence[Path]], problems: Mapping[str, Problem]
) -> tuple[list[Example], int]:
    """Kept paths as examples for the bench's model, and how many had to be tokenized again.

    Ids are taken as sampled where prompt and tokenizer are the model's own.
    """
    written = {c.id: (c, one.style_of[c.id]) for one in drawn for c in one.completions}
    examples, again, ours = [], 0, tokenizer_digest(bench.prompter.tokenizer)
    for problem_id, paths in kept.items():
        for path in paths:
            completion, style = written[path.id]
            prompter = styled_prompter(bench.prompter, style)
            prompt = prompter.render(problems[problem_id]).ids
            if completion.prompt_ids == prompt and completion.tokenizer_digest == ours:
                target, weights = completion.token_ids, tuple(float(m) for m in completion.loss_mask())
            else:
                target, weights = _tokenized(completion.text, prompter)
                again += 1
            stage = digest(["path", prompt, target])
            made = record_id(stage, problem_id, path.id)
            examples.append(Example(made, problem_id, prompt, target, weights, f"path:{path.sampler}", path.id))
    return examples, again


def _tokenized(text: str, prompter: Prompter) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """A solution's ids for another model, its end token added, and their loss weights; outputs have none."""
    ids: list[int] = []
    weights: list[float] = []
    for part in parts_of(text):
        tokens = prompter.tokenizer(part.text, add_special_tokens=False)["input_ids"]
        ids += tokens
        weights += [1.0 if part.kind == "model" else 0.0] * len(tokens)
    return (*ids, prompter.stop_token_ids[0]), (*weights, 1.0)
