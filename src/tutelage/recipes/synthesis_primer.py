"""`synthesize` on the built-in world: the model writes a question from a line of keywords, and the truth is known.

    new        the keywords of a seed as they are: what the model is schooled to do
    keywords   one token of them exchanged for another operation or number range
    harder     one more keyword: one more step

Its prompt form has no room for examples, so none are shown. What a question means is read back (`read_story`), so that
shares of well-formed questions, right labels and new sequences of operations are exact, not judged.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from tutelage.config.describing import show_value
from tutelage.errors import InputError
from tutelage.evaluation.statistics import wilson
from tutelage.problems.primer import OPERATIONS, Story, keywords, write_prompt
from tutelage.problems.primer.cells import RANGES
from tutelage.problems.primer.reading import is_sound, operations_of, read_story
from tutelage.problems.primer.story import gold_answer
from tutelage.recipes.synthesis_asking import AskSettings, draw_mode
from tutelage.recipes.synthesis_records import KEPT, Ask, Candidate
from tutelage.records import Problem, seed_of
from tutelage.text.prompts import Prompter

FIELD = "word problems"
MOST_STEPS = 6
WITHOUT_EFFECT = (
    "taxonomy", "fields", "human_demos", "machine_demos", "list_length", "keywords_per_ask", "persona_share",
)  # fmt: skip
"""Settings of `synthesize` that say what stands in a prompt of which the built-in model's own form has nothing."""


@dataclass
class PrimerWriter:
    """Asks the built-in model.

    Args:
        settings: how many, of which mode.
        prompter: of the built-in model.
        seeds: problems of the built-in world.
    """

    settings: AskSettings
    prompter: Prompter
    seeds: Sequence[Problem]

    def __post_init__(self) -> None:
        stories = {seed.id: read_story(seed.question) for seed in self.seeds}
        self._lines = {name: keywords(story).split(", ") for name, story in stories.items() if story is not None}
        if not self._lines:
            raise InputError(
                "none of the seeds is a problem of the built-in world, and its model can write no others",
                seen=self.seeds[0].question, expected="seeds like those of data=primer:train",
                advice="use data=primer:train, or another model",
            )  # fmt: skip

    def plan(self, round: int, machine: Sequence[Problem]) -> list[Ask]:
        """As `Writer.plan`; a round's lines start from seeds and from problems kept so far."""
        lines = dict(self._lines)
        for problem in machine:
            story = read_story(problem.question, is_strict=False)
            if story is not None:
                lines[problem.id] = keywords(story).split(", ")
        names = list(lines)
        asks = []
        for index in range(self.settings.asks_per_round):
            rng = random.Random(seed_of(self.settings.seed, "ask", round, index))
            mode, base = draw_mode(self.settings, rng), rng.choice(names)
            line = lines[base]
            if mode == "harder":
                line = [*line, _keyword(rng)] if len(line) < MOST_STEPS else line
                rng.shuffle(line)
            elif mode == "keywords":
                line = _exchanged(line, rng)
            prompt = self.prompter.render_text(write_prompt(", ".join(line)))
            asks.append(Ask(f"it{round}-{index}", mode, FIELD, tuple(line), (base,), prompt))
        return asks


def ignored(settings: BaseModel) -> list[str]:
    """The settings that were changed and that have no effect on the built-in model, as the user would write them."""
    changed = settings.model_dump(include=set(WITHOUT_EFFECT), exclude_defaults=True)
    return [f"{name}={show_value(changed[name])}" for name in WITHOUT_EFFECT if name in changed]


def _keyword(rng: random.Random) -> str:
    return f"{rng.choice(list(OPERATIONS)).replace('_', ' ')} {rng.choice(RANGES)}"


def _exchanged(line: Sequence[str], rng: random.Random) -> list[str]:
    """The line with the operation or the range of one keyword exchanged for another."""
    place = rng.randrange(len(line))
    operation, _, number_range = line[place].rpartition(" ")
    if rng.random() < 0.5:
        operation = rng.choice([o.replace("_", " ") for o in OPERATIONS if o.replace("_", " ") != operation])
    else:
        number_range = rng.choice([r for r in RANGES if r != number_range])
    return [*line[:place], f"{operation} {number_range}", *line[place + 1 :]]


def truth_of(candidates: Sequence[Candidate], seeds: Sequence[Problem]) -> dict[str, Any]:
    """What is true of the questions that were written.

    Returns:
        Shares with 95 % intervals: `stories` (of all questions that are not cut: every sentence is one of the world's,
        so that operations and numbers are known), `consistent` (of the stories: people and things fit too, a story of
        the world to the letter), `sound` (of the stories: all numbers are whole and in the world), `followed` (of the
        stories: exactly the keywords asked for), `right_labels` (of the sound ones that were kept: the majority's
        answer is the true one), and by mode `new_sequences` (of the sound ones: the operations in their order are
        those of no seed), for all and for the kept ones.
    """
    known = {operations_of(story) for seed in seeds if (story := read_story(seed.question))}
    whole = [candidate for candidate in candidates if candidate.fate != "truncated"]
    read = [(c, story) for c in whole if (story := read_story(c.question, is_strict=False))]
    sound = [(candidate, story) for candidate, story in read if is_sound(story)]
    kept = [(candidate, story) for candidate, story in sound if candidate.fate == KEPT]
    modes = sorted({candidate.mode for candidate in whole})
    return {
        "stories": share(len(read), len(whole)),
        "consistent": share(sum(read_story(c.question) is not None for c, _ in read), len(read)),
        "sound": share(len(sound), len(read)),
        "followed": share(sum(keywords(story) == ", ".join(c.keywords) for c, story in read), len(read)),
        "right_labels": share(sum(_is_right(c, story) for c, story in kept), len(kept)),
        "unsound_kept": sum(c.fate == KEPT for c in whole) - len(kept),
        "seed_sequences": len(known),
        "new_sequences": {
            name: {
                which: _new([story for c, story in group if mode in (None, c.mode)], known)
                for which, group in (("written", sound), ("kept", kept))
            }
            for name, mode in (("all", None), *((mode, mode) for mode in modes))
        },
    }


def _is_right(candidate: Candidate, story: Story) -> bool:
    return candidate.answer == str(gold_answer(story))


def _new(stories: Sequence[Story], known: set[tuple[str, ...]]) -> dict[str, Any]:
    return share(sum(operations_of(story) not in known for story in stories), len(stories))


def share(count: int, total: int) -> dict[str, Any]:
    """A share with its 95 % interval; the share is None of nothing."""
    if not total:
        return {"share": None, "n": 0}
    interval = wilson(count, total)
    return {
        "share": round(count / total, 4), "low": round(interval.low, 4), "high": round(interval.high, 4), "n": total
    }  # fmt: skip
