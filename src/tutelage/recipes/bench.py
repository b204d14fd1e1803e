"""What a recipe works with: the run folder, problems, prompts, grader, and ways to open samplers.

A recipe never picks a backend; the command line (or a test) builds the bench and hands it over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tutelage.grading import CompletionGrader
from tutelage.recipes.progress import Progress
from tutelage.records import Policy, Problem, digest
from tutelage.sampling.session import SamplerSession
from tutelage.store.run import Run
from tutelage.text.prompts import Prompter

Work = Literal["sampling", "learning", "grading", "other"]


ELSEWHERE = ("server:", "replay:", "scripted:")
"""How the names of those begin who answer in a model's place: they have no weights here that could be trained."""


@dataclass(frozen=True)
class Weights:
    """Where a policy's weights lie, and how they came to be.

    Args:
        policy: what records say of it; holds no path that differs between machines or run folders.
        model: folder or hub name of the model.
        adapter: folder of a LoRA adapter on it, if any.
        lineage: digest of everything that made these weights; stage digests build on it.
    """

    policy: Policy
    model: str
    adapter: Path | None
    lineage: str

    def learnt(self, folder: Path, stage: str, *, is_adapter: bool) -> Weights:
        """The weights that a learn stage with digest `stage` made from these and saved in `folder`."""
        policy = replace(self.policy, adapter="lora" if is_adapter else "", version=self.policy.version + 1)
        lineage = digest([self.lineage, stage])
        if is_adapter:
            return Weights(policy, self.model, folder, lineage)
        return Weights(policy, str(folder), None, lineage)


@dataclass
class TimeSpent:
    """Seconds by kind of work; nested spans count once, for the inner kind.

    `seconds` and `earlier` (their total) start with what earlier sessions of a resumed run took.
    """

    clock: Callable[[], float] = time.perf_counter
    seconds: dict[str, float] = field(default_factory=dict)
    earlier: float = 0.0
    _open: list[tuple[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.started = self.clock()

    @contextmanager
    def on(self, work: Work) -> Iterator[None]:
        """Count what happens inside as `work`."""
        self._add_running()
        self._open.append((work, self.clock()))
        try:
            yield
        finally:
            self._add_running()
            self._open.pop()
            if self._open:
                self._open[-1] = (self._open[-1][0], self.clock())

    def _add_running(self) -> None:
        if self._open:
            work, since = self._open[-1]
            now = self.clock()
            self.seconds[work] = self.seconds.get(work, 0.0) + now - since
            self._open[-1] = (work, now)

    @classmethod
    def going_on(cls, run: Run) -> TimeSpent:
        """The time of a run that may have been begun by earlier sessions, as the last of them left it."""
        known = [row["values"] for row in run.read_metrics("time_spent")]
        seconds = {work: float(value) for work, value in known[-1].items()} if known else {}
        return cls(seconds=seconds, earlier=sum(seconds.values()))

    def total(self) -> float:
        """Seconds since the start, those of earlier sessions included."""
        return self.earlier + self.clock() - self.started

    def report(self) -> dict[str, float]:
        """Seconds by work, with what no span covers added to `other`."""
        known = {work: self.seconds.get(work, 0.0) for work in ("sampling", "learning", "grading", "other")}
        known["other"] += max(0.0, self.total() - sum(known.values()))
        return {work: round(seconds, 3) for work, seconds in known.items()}


@dataclass
class Bench:
    """Everything a recipe needs that is not in its config.

    Args:
        run: the run folder, open for writing.
        train: problems to practise on.
        dev: problems that decisions (when to stop, which step is best) are made on; may be empty.
        held_out: the dev problems that were taken out of the training data; empty where dev came from elsewhere.
        test: problems that reported figures are measured on; equal to `dev` where the user named none.
        prompter: makes prompts and gold targets.
        grader: judges completions.
        base: the model the run starts from.
        open_sampler: opens a session that samples from given weights.
        sampler_of: opens a session on a model object in memory (the learner's, in mid-training).
        progress: where progress is shown.
        invite: the same bench with another model in the seat: its weights, tokenizer, prompts and sampler. Takes a
            model folder, adapter folder, hub name or `primer`; `server:URL`, `replay:FILE` or
            `scripted:FILE.py:FUNCTION`; `local:MODEL` for a model that samples here though the run's own does not.
        track: takes an optimizer step's figures by name; a tracker, or nothing.
    """

    run: Run
    train: list[Problem]
    dev: list[Problem]
    held_out: list[Problem]
    test: list[Problem]
    prompter: Prompter
    grader: CompletionGrader
    base: Weights
    open_sampler: Callable[[Weights], AbstractContextManager[SamplerSession]]
    sampler_of: Callable[[Any, Weights], AbstractContextManager[SamplerSession]]
    progress: Progress
    invite: Callable[[str], Bench]
    track: Callable[[Mapping[str, float]], None] = lambda values: None
    spent: TimeSpent = field(default_factory=TimeSpent)
