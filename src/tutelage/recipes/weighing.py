"""The dynamic loss in a run: pass rates measured anew at the start of every epoch, and what each bucket's loss does.

    epoch e: sample `hardness_samples` paths of each problem from the model as it is, in each style that is learnt,
             programs run; grade them: p of a problem in a style
             w = 1 + hard_gamma (1 - p) if p < 0.5 else 1; tokens of programs times `program_weight`; mean 1 in a batch

An example weighs by the pass rate in its own style: a problem that is easy in prose may be hard as a program.
The loss curves are by hardness at the start of the training: one bucket of pass rates each, hardest first.

Source: the 360 talk (2024); the formula is ours (`learning/dynamic_loss.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from tutelage.config.settings import Settings, setting
from tutelage.learning.dynamic_loss import example_weight, program_weights
from tutelage.learning.sft import SFTLearner, Weighing
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.program_stage import open_runner, sample_styled
from tutelage.recipes.styles import styled, styled_prompter
from tutelage.records import Example, Group, SamplingParams, digest
from tutelage.sampling.executing import ProgramRunner
from tutelage.selection.difficulty import NUM_BINS, difficulty_bin, make_groups
from tutelage.text.programs import Style, read_solution

CURVE_POINTS = 20

Measured = tuple[Style, str]
"""What has a pass rate: a style and the id of a problem that is asked in it."""


class DynamicLossSettings(Settings):
    """How much hard problems and programs count."""

    dynamic_loss: bool = setting(False, "Weigh examples of hard problems more, as measured anew in every epoch.")
    hard_gamma: float = setting(1.0, "Hard problems weigh 1 + this x (1 - pass rate).", ge=0, le=100)
    program_weight: float = setting(2.0, "What tokens of programs weigh more by, with dynamic_loss.", ge=0, le=100)
    hardness_samples: int = setting(
        10, "Paths of each problem that measure its pass rate.", source="the 360 talk: 10", ge=1, le=1000
    )
    hardness_temperature: float = setting(0.7, "Temperature of these paths.", gt=0, le=5)
    hardness_every: Literal["epoch", "once"] = setting("epoch", "Measure at the start of every epoch, or once.")


def with_program_weights(examples: Sequence[Example], bench: Bench, program_weight: float) -> list[Example]:
    """Examples whose program tokens weigh more; the tokens are those of the bench's model."""
    tokenizer = bench.prompter.tokenizer
    out = []
    for example in examples:
        pieces = [tokenizer.decode([token]) for token in example.target_ids]
        text = "".join(pieces)
        spans = [(program.start, program.end) for program in read_solution(text).programs]
        if not spans:  # the text of a bare program ends before its end token
            body = tokenizer.decode(list(example.target_ids), skip_special_tokens=True)
            spans = [(program.start, program.end) for program in read_solution(body).programs]
        if spans:
            weights = program_weights(example.weights, pieces, spans, program_weight)
            example = dataclasses.replace(example, weights=weights)
        out.append(example)
    return out


def styles_of(examples: Sequence[Example], bench: Bench, styles: Sequence[Style]) -> list[Style]:
    """The style that each example answers in: its origin where that is one, else the one whose prompt it has.

    Args:
        styles: those of the config; where there is only one, all examples are of it.
    """
    if len(styles) == 1:
        return [styles[0]] * len(examples)
    problems = {problem.id: problem for problem in bench.train}
    prompters = {style: styled_prompter(bench.prompter, style) for style in styles}
    named = {str(style): style for style in get_args(Style)}

    def asked(example: Example) -> Style:
        problem = problems.get(example.problem_id)
        if problem is not None:
            for style, prompter in prompters.items():
                if prompter.render(problem).ids == example.prompt_ids:
                    return style
        return styles[0]

    return [named.get(example.origin) or asked(example) for example in examples]


@dataclass
class DynamicLoss:
    """The weighing of one training.

    Args:
        config: the run's settings.
        bench: problems, prompts, grader, samplers.
        weights: where the training starts.
        examples: what it learns from; their token weights are taken as they are.
        label: names its stages.
    """

    config: Any
    bench: Bench
    weights: Weights
    examples: Sequence[Example]
    label: str
    _measured: list[Measured] = field(init=False)
    _rates: dict[int, dict[Measured, float | None]] = field(default_factory=dict)
    _bins: dict[Measured, int | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        styles = styles_of(self.examples, self.bench, self.config.styles)
        self._measured = [(style, one.problem_id) for style, one in zip(styles, self.examples, strict=True)]

    def weighing(self, learner: SFTLearner) -> Weighing:
        """What a fit of this learner takes."""
        settings = [self.config.hard_gamma, self.config.hardness_samples, self.config.hardness_temperature,
                    self.config.hardness_every]  # fmt: skip
        if (styles := self._styles()) != ["cot"]:
            settings += styles  # a fit that was begun when prose alone was measured is not gone on with
        return Weighing(lambda epoch: self._weights_of(learner, epoch), self._note, digest(["dynamic", *settings]))

    def _weights_of(self, learner: SFTLearner, epoch: int) -> list[float]:
        self._measure(learner, 0)  # the buckets, also where a fit is resumed in a later epoch
        rates = self._measure(learner, epoch if self.config.hardness_every == "epoch" else 0)
        return [example_weight(rates.get(one), self.config.hard_gamma) for one in self._measured]

    def _styles(self) -> list[Style]:
        """The styles that are measured, in order."""
        return list(dict.fromkeys(style for style, _ in self._measured))

    def _measure(self, learner: SFTLearner, epoch: int) -> dict[Measured, float | None]:
        """The pass rates at the start of an epoch; samples in the run folder are not drawn again."""
        if epoch in self._rates:
            return self._rates[epoch]
        inside, weights = self._model_at(learner, epoch)
        groups: dict[Measured, Group] = {}
        with open_runner(self.config, self.bench.run) as runner:
            for style in self._styles():
                found = self._groups(inside, weights, style, epoch, runner)
                groups |= {(style, group.problem_id): group for group in found}
        self._rates[epoch] = {key: group.pass_rate for key, group in groups.items()}
        bins = {key: difficulty_bin(group) for key, group in groups.items()}
        if epoch == 0:
            self._bins = bins
        histogram = [sum(number == b for number in bins.values()) for b in range(NUM_BINS)]
        self.bench.run.metrics("hardness", {"problems_by_bin": histogram}, stage=self.label, epoch=epoch)
        self.bench.progress.stage(stages.in_words(f"{self.label}-learn"), None)
        return self._rates[epoch]

    def _model_at(self, learner: SFTLearner, epoch: int) -> tuple[Bench, Weights]:
        """The model as it is at the start of an epoch: a bench whose sampler draws from it, and its name."""
        if not epoch:
            return self.bench, self.weights
        made_of = [self.weights.lineage, self.label, epoch, [example.id for example in self.examples]]
        name = f"{self.weights.policy.model} ({self.label}-epoch{epoch})"
        policy = dataclasses.replace(self.weights.policy, model=name)
        inside = dataclasses.replace(
            self.bench, open_sampler=lambda now: self.bench.sampler_of(learner.model, now)
        )  # fmt: skip
        return inside, dataclasses.replace(self.weights, policy=policy, lineage=digest(made_of))

    def _groups(self, bench: Bench, weights: Weights, style: Style, epoch: int, runner: ProgramRunner) -> list[Group]:
        """The graded paths, by problem, of one style's problems."""
        config = self.config
        wanted = {problem_id for of, problem_id in self._measured if of == style}
        problems = [problem for problem in bench.train if problem.id in wanted]
        params = SamplingParams(temperature=config.hardness_temperature, max_new_tokens=config.max_new_tokens)
        name = f"{self.label}-epoch{epoch}" + ("" if style == "cot" else f"-{style}")
        plan = stages.SamplingPlan(name, params, config.hardness_samples, config.seed, round=epoch)
        completions = sample_styled(
            bench, weights, problems, plan, style=style, runner=runner, max_programs=config.max_programs
        )
        verdicts = stages.grade(styled(self.bench, style), problems, completions, name=f"{name}-grade")
        return make_groups(completions, verdicts, round=epoch)

    def _note(self, step: int, batch: list[int], nll: list[float]) -> None:
        """Journal the losses of a step by bucket."""
        sums: dict[str, list[float]] = {}
        for place, value in zip(batch, nll, strict=True):
            number = self._bins.get(self._measured[place])
            if number is not None:
                entry = sums.setdefault(str(number), [0.0, 0])
                entry[0] += value
                entry[1] += 1
        self.bench.run.metrics("hardness_loss", {"sums": sums}, stage=self.label, step=step)

    def report(self) -> dict[str, Any]:
        """Loss curves by bucket and the pass rates of each epoch, as the report shows them."""
        run, here = self.bench.run, {"stage": self.label}
        rows = [row for row in run.read_metrics("hardness_loss") if row["where"].items() >= here.items()]
        steps = {row["where"]["step"]: row["values"]["sums"] for row in rows}
        hardness = [row for row in run.read_metrics("hardness") if row["where"].items() >= here.items()]
        return {
            "loss_by_hardness": loss_curves(steps),
            "problems_by_hardness": [row["values"]["problems_by_bin"] for row in hardness],
        }


def loss_curves(steps: Mapping[int, Mapping[str, Sequence[float]]]) -> list[dict[str, Any]]:
    """Mean NLL by bucket over about `CURVE_POINTS` stretches of a training.

    Args:
        steps: by step from 1, of each bucket the sum of its examples' NLL and their number.

    Returns:
        Rows `{"step": last step of the stretch, "nll": [mean of each bucket, hardest first, None where it had none]}`.
    """
    if not steps:
        return []
    last = max(steps)
    width = max(1, -(-last // CURVE_POINTS))
    rows = []
    for start in range(1, last + 1, width):
        inside = [steps[step] for step in range(start, min(start + width, last + 1)) if step in steps]
        means: list[float | None] = []
        for number in range(NUM_BINS):
            parts = [part[str(number)] for part in inside if str(number) in part]
            count = sum(part[1] for part in parts)
            means.append(round(sum(part[0] for part in parts) / count, 5) if count else None)
        rows.append({"step": min(start + width - 1, last), "nll": means})
    return rows
