"""A judge's opinions on a run's completions: asked, recorded, resumable; for recipes that filter or choose by them.

    seat = open_judge(config, bench)                                  # None where no judge is named
    scores = judge_scores(bench, seat, completions, problems, reference=config.judge_reference)  # 1 to 10 by id
    kept, counts = filter_answers(completions, verdicts, judged_by=as_scores(scores, "judge"), at_least=6)

A completion whose rating cannot be read has no score: it passes no cut, and is counted. Unlike a reward model's, a
judge's scores mean the same for every problem (the 360 talk, 2024), so one threshold serves all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import model_validator

from tutelage.config.describing import show_value
from tutelage.config.settings import Settings, setting
from tutelage.errors import RunFailed
from tutelage.evaluation.judge_flows import JUDGE, Opinion, rate
from tutelage.evaluation.plays import Table
from tutelage.recipes.bench import ELSEWHERE, Bench
from tutelage.recipes.flow_stage import run_flows
from tutelage.recipes.strategy_stage import Seat
from tutelage.records import Completion, Problem, SamplingParams, Score, digest
from tutelage.text.ratings import HIGHEST, LOWEST, RIGHT_FROM

CHATGLM = "arXiv 2404.02893"
RECIPE = "judge"


class JudgeSettings(Settings):
    """A judge whose scores decide."""

    judge: str | None = setting(
        None, "Judge whose score decides: a run of the recipe judge, a model or adapter folder, a hub name, "
        "`server:URL`, or `local:` before a model where the run's own sampler is another.",
    )  # fmt: skip
    judge_threshold: int = setting(
        RIGHT_FROM, "Score from which an answer passes.", source=f"{CHATGLM} §3: 6", ge=LOWEST, le=HIGHEST
    )
    judge_reference: bool = setting(
        True, "Show the judge the reference answer; where `judge` is of a run of judge, that run's `reference` is the "
        "default.", source=f"{CHATGLM} §3; the 360 talk",
    )  # fmt: skip
    judge_temperature: float = setting(0.0, "Temperature of its first try.", ge=0, le=5)
    judge_tokens: int = setting(1024, "Longest analysis and score.", unit="tokens", ge=1)
    judge_tries: int = setting(3, "How often it is asked until its score can be read.", ge=1, le=100)

    @model_validator(mode="before")
    @classmethod
    def _asked_as_taught(cls, given: Any) -> Any:
        """What a judge was taught with, where the user does not say; before all else, so that `run.json` has it."""
        if isinstance(given, dict) and "judge_reference" not in given:
            reference = taught_with(given.get("judge")).get("reference")
            return given if reference is None else {**given, "judge_reference": reference}
        return given


def open_judge(config: JudgeSettings, bench: Bench) -> Seat | None:
    """The judge that the config names; None if none. Its tokenizer may be another than the model's.

    It is told where the judge will be asked otherwise than it was taught.

    Raises:
        ModelError: there is no such model, or the run that is named has none.
    """
    if config.judge is None:
        return None
    params = SamplingParams(config.judge_temperature, max_new_tokens=config.judge_tokens)
    seat = Seat.at(bench.invite(config.judge), params, label=config.judge)
    if found := unlike_taught(config, seat):
        bench.progress.note(f"warning: the judge {config.judge} is asked otherwise than it was taught: {found}")
    return seat


def taught_with(name: Any) -> dict[str, Any]:
    """The settings of the run of the recipe `judge` that a judge is of, itself or a checkpoint in it; else none."""
    if not isinstance(name, str) or name.startswith(ELSEWHERE):
        return {}
    folder = Path(name.removeprefix("local:"))
    run = folder.parent.parent if folder.parent.name == "checkpoints" else folder
    try:
        header = json.loads((run / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_judge = isinstance(header, dict) and header.get("recipe") == RECIPE and isinstance(header.get("config"), dict)
    return header["config"] if is_judge else {}


def unlike_taught(config: JudgeSettings, seat: Seat) -> str:
    """How what the judge is shown differs from what its run taught it with, in words; "" where nothing is known to."""
    taught, form = taught_with(config.judge), seat.bench.prompter.form
    now: dict[str, tuple[str, Any]] = {"reference": ("judge_reference", config.judge_reference)}
    if form == "chat":
        now["system_prompt"] = ("system_prompt", getattr(config, "system_prompt", None))
    if taught.get("prompt") != "auto" and not taught.get("students"):  # a student's form is found, not set
        now["prompt"] = ("prompt", form)
    return "; ".join(
        f"{key}={show_value(value)}, but in its run {name}={show_value(taught[name])}"
        for name, (key, value) in now.items() if name in taught and taught[name] != value
    )  # fmt: skip


def judge_scores(
    bench: Bench,
    seat: Seat,
    completions: Sequence[Completion],
    problems: Sequence[Problem],
    *,
    name: str = JUDGE,
    seed: int = 0,
    tries: int = 3,
    reference: bool = True,
) -> dict[str, float]:
    """Scores, 1 to 10, by completion id; recorded as `Score`s of kind `judge`. Unreadable ratings have none.

    Args:
        bench: whose run folder keeps them.
        seat: the judge (`open_judge`).
        completions: whole solutions; those that failed in sampling are left out.
        problems: that they belong to.
        name: the stage's name; a different one for each call with other completions in a run.
        seed: of tries after the first.
        tries: how often the judge is asked until its text can be read.
        reference: whether it is shown the reference answer.

    Raises:
        RunFailed: none of the judge's texts could be read.
    """
    said = opinions(bench, seat, completions, problems, name=name, seed=seed, tries=tries, reference=reference)
    scores = {key: float(opinion.score) for key, opinion in said.items() if opinion.score is not None}
    if said and not scores:
        reasons = next(iter(said.values())).unreadable
        raise RunFailed(
            f"none of the judge's {len(said)} ratings can be read", seen=f"{seat.label}: {', '.join(reasons)}",
            expected="an analysis, and a last line with a score from 1 to 10",
            advice="train the judge for it (tutelage run judge), or raise judge_tokens or judge_tries",
        )  # fmt: skip
    if len(scores) < len(said):
        bench.progress.note(f"warning: {len(said) - len(scores)} of {len(said)} ratings of the judge could not be read")
    return scores


def opinions(
    bench: Bench,
    seat: Seat,
    completions: Sequence[Completion],
    problems: Sequence[Problem],
    *,
    name: str,
    seed: int,
    tries: int,
    reference: bool = True,
    player: str = JUDGE,
) -> dict[str, Opinion]:
    """What a judge says of each completion, by completion id; scores are recorded.

    As `judge_scores`, but never raises on what the judge writes; `player` is the seat's name in requests.
    """
    usable = [c for c in completions if c.finish_reason != "error"]
    wanted = {c.problem_id for c in usable}
    asked = {p.id: p for p in problems if p.id in wanted}
    stage = digest(["judge", name, seed, tries, reference, seat.made_of(), [c.id for c in usable],
                    [[p.id, p.question, p.answer] for p in asked.values()]])  # fmt: skip
    players = {player: seat.player(player)}
    flows = [
        (c.id, rate(Table(asked[c.problem_id], players, stage, seed), c, player=player, tries=tries,
                    reference=reference))
        for c in usable
    ]  # fmt: skip
    said: dict[Any, Opinion] = run_flows(bench, name, stage, flows, {player: (seat.bench, seat.weights)})
    by = judge_name(seat)
    found = {key: opinion.score for key, opinion in said.items() if opinion.score is not None}
    bench.run.append_many("scores", as_scores(found, by))
    return said


def judge_name(seat: Seat) -> str:
    """What a judge's scores say they are by; other weights have another name."""
    policy = seat.weights.policy
    return f"{seat.label or policy.model} v{policy.version}"


def as_scores(scores: Mapping[str, float], by: str) -> list[Score]:
    """Scores by completion id as records."""
    return [Score(key, "judge", float(value), by) for key, value in scores.items()]


def told_of(said: Iterable[Opinion]) -> dict[str, int]:
    """How many texts could not be read, by reason, over all attempts."""
    reasons = [reason for opinion in said for reason in opinion.unreadable]
    return {reason: reasons.count(reason) for reason in sorted(set(reasons))}
