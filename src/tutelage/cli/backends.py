"""Builds the bench of a recipe from its config: data, model, grader, the run folder.

Whatever is wrong with the user's input is found here, before any work.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tutelage.cli.guests import Guests, find_guests
from tutelage.cli.seats import Seat, guest_config, guest_name, take_seat
from tutelage.cli.splits import Splits, leaks, load_splits, only_new
from tutelage.cli.trackers import NoTracker, Tracker, open_tracker
from tutelage.config.settings import UpdateSettings
from tutelage.config.writing import resolved
from tutelage.errors import RunError
from tutelage.grading import load_grader
from tutelage.grading.batching import ItemLimits
from tutelage.grading.user import LIMITS, GraderOptions
from tutelage.learning.adapters import check_trainable
from tutelage.primer import PRIMER_VERSION
from tutelage.recipes.bench import Bench, TimeSpent, Weights
from tutelage.recipes.progress import Progress
from tutelage.store.run import Run

MAY_DIFFER = (
    "max_batch", "max_in_flight", "timeout_seconds", "max_retries", "report_to", "output_dir", "checkpoint_every",
    "grader_workers", "program_workers",
)  # fmt: skip
"""Settings that change speed or place, never a result; a run may be resumed with others."""


@contextmanager
def open_bench(config: Any, *, recipe: str, folder: Path, progress: Progress, resume: bool = False) -> Iterator[Bench]:
    """The bench for one run of a recipe.

    Args:
        config: the recipe's config.
        recipe: its name.
        folder: the run folder; must be new, or the run to resume.
        progress: where progress is shown.
        resume: go on with the run in `folder`.

    Raises:
        InputError: anything wrong with data, model, prompts or the run folder; nothing has been written then.
    """
    parts = assemble(config)
    if isinstance(config, UpdateSettings):
        check_trainable(parts.base.model, config, adapter=parts.base.adapter)
    with (
        closing(open_tracker(config.report_to, folder, resolved(config), progress.note)) as tracker,
        closing(open_run(config, parts, recipe=recipe, folder=folder, resume=resume)) as run,
    ):
        yield make_bench(run, parts, progress, tracker)


def open_run(config: Any, parts: Parts, *, recipe: str, folder: Path, resume: bool) -> Run:
    """The run folder, new or resumed.

    Raises:
        RunError: it exists, is missing, or was made with another config.
    """
    info = provenance(config, parts)
    if resume:
        run = Run.resume(folder, recipe=recipe, config=resolved(config), may_differ=MAY_DIFFER)
        _check_unchanged(run, info)
        return run
    return Run.create(folder, recipe=recipe, config=resolved(config), seed=config.seed, info=info)


def _check_unchanged(run: Run, info: dict[str, str]) -> None:
    """Refuse to go on with another grader or other weights than the run was begun with."""
    known = {"grader_version": run.header.get("grader_version"), **(run.header.get("info") or {})}
    changed = [name for name in ("grader_version", "lineage") if known.get(name) not in (None, info[name])]
    if changed:
        run.close()
        words = {"grader_version": "grader", "lineage": "model or tokenizer"}
        raise RunError(
            f"the {' and the '.join(words[name] for name in changed)} changed since the run {run.path} was begun",
            seen=", ".join(info[name] for name in changed),
            expected=", ".join(str(known[name]) for name in changed),
            advice="put back what was used, or begin a new run in another output_dir",
        )


def provenance(config: Any, parts: Parts) -> dict[str, str]:
    """What `run.json` says of a run's making besides its settings: grader, weights, and the built-in world if used."""
    info = {"grader_version": f"{parts.grader.name} {parts.grader.version}", "lineage": parts.base.lineage}
    splits = parts.splits
    used = {problem.source.split(":")[0] for problem in (*splits.train, *splits.dev, *splits.test)}
    if config.model == "primer" or used & {"primer", "primer-choice"}:
        info["primer_version"] = PRIMER_VERSION
    return info


def make_bench(run: Run, parts: Parts, progress: Progress, tracker: Tracker | None = None) -> Bench:
    """A bench on an open run, with the problems recorded and the time of earlier sessions counted."""
    step, splits, sink = itertools.count(1), parts.splits, tracker or NoTracker()
    run.append_many("problems", [*splits.train, *splits.held_out, *only_new(splits)])
    if told := leaks(splits):
        progress.note(f"warning: {told}")
    for told in parts.guests.told:
        progress.note(told)
    seats = dict(parts.guests.seats)

    def invite(name: str) -> Bench:
        name = guest_name(name)
        if name not in seats:
            seats[name] = take_seat(guest_config(parts.config, name), splits)
        seat = seats[name]
        return replace(
            bench, prompter=seat.prompter, base=seat.base, open_sampler=seat.samplers.open,
            sampler_of=seat.samplers.of_model,
        )  # fmt: skip

    bench = Bench(
        run, splits.train, splits.dev, splits.held_out, splits.test, parts.seat.prompter, parts.grader,
        parts.seat.base, parts.seat.samplers.open, parts.seat.samplers.of_model, progress, invite,
        lambda values: sink.log(values, next(step)), TimeSpent.going_on(run),
    )  # fmt: skip
    return bench


@dataclass(frozen=True)
class Parts:
    """What a bench is made of besides the run folder; all checked."""

    config: Any
    splits: Splits
    grader: Any
    seat: Seat
    guests: Guests

    @property
    def base(self) -> Weights:
        """The model that the run starts from."""
        return self.seat.base


def assemble(config: Any) -> Parts:
    """Load and check everything that a recipe's `config` names; writes nothing."""
    return assemble_with(config, load_splits(config))


def assemble_with(config: Any, splits: Splits) -> Parts:
    """As `assemble`, with problems that are loaded already.

    Args:
        config: model, sampler and grader settings.
        splits: the problems; where there is nothing to train on, `train` may be empty.
    """
    seat = take_seat(config, splits)
    guests = find_guests(config, seat, splits)
    return Parts(config, splits, load_grader(config.grader, grader_options(config)), seat, guests)


def grader_options(config: Any) -> GraderOptions:
    """How a run's grader is run, from its settings."""
    limits = ItemLimits(config.grader_seconds, max(LIMITS.wall_seconds, 6 * config.grader_seconds),
                        int(config.grader_memory * (1 << 30)))  # fmt: skip
    return GraderOptions(
        isolation=config.grader_isolation, limits=limits, workers=config.grader_workers, symbolic=config.symbolic
    )
