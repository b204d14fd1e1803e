"""The verbs of the loop as stages of a run: sample, grade, evaluate, learn. Each does only what the run folder lacks.

A stage's digest covers its settings, the weights' lineage and the round, so that a record made by it can be found
again and never mistaken for another's. Running a stage twice gives the same records; killing it loses at most what
was not yet written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutelage.errors import InputError, RunFailed, SamplerFailed
from tutelage.evaluation.results import EvaluationResult
from tutelage.evaluation.strategies import Strategy, StrategyResult, parse_strategy, score_strategy
from tutelage.grading import Grader, UserGrader, tally
from tutelage.grading.tiered import trouble
from tutelage.recipes.bench import Bench, Weights
from tutelage.records import Completion, Problem, SamplingParams, Verdict, digest, record_id, seed_of
from tutelage.sampling.session import SampleRequest, SamplerSession

MAX_ERROR_SHARE = 0.5
"""Share of failed samples above which a stage is given up."""
GRADED_AT_ONCE = 256
"""Verdicts written at once: what a kill in mid-grading can lose."""


@dataclass(frozen=True)
class SamplingPlan:
    """What to draw from whom.

    Args:
        name: the stage's name in the journal, e.g. "it1-sample".
        params: how to draw.
        num_samples: completions of each problem.
        seed: the run's seed; a completion's own derives from it, the round, its problem and its index.
        round: which round of practice, so that rounds draw differently.
    """

    name: str
    params: SamplingParams
    num_samples: int
    seed: int
    round: int = 0

    def digest(self, weights: Weights) -> str:
        """What the plan and the weights add to the stage digest."""
        return digest(
            ["sample", self.name, self.params.to_json(), self.num_samples, self.seed, self.round, weights.lineage]
        )


def requests_for(
    bench: Bench, weights: Weights, problems: Iterable[Problem], plan: SamplingPlan
) -> list[SampleRequest]:
    """The requests of a plan in canonical order: problem by problem, sample by sample.

    The stage digest that they carry covers the prompts too, so that changed data are never taken for what was sampled.
    """
    prompts = [(problem, bench.prompter.render(problem)) for problem in problems]
    stage = digest([plan.digest(weights), [[problem.id, prompt.ids] for problem, prompt in prompts]])
    params = replace(plan.params, stop_token_ids=bench.prompter.stop_token_ids, stop=bench.prompter.stop_texts)
    requests = []
    for problem, prompt in prompts:
        for index in range(plan.num_samples):
            requests.append(
                SampleRequest(
                    id=record_id(stage, problem.id, None, index),
                    problem_id=problem.id,
                    prompt_ids=prompt.ids,
                    prompt_text=prompt.text,
                    messages=prompt.messages,
                    params=params,
                    seed=seed_of(plan.seed, plan.name, problem.id, index),
                    adapter=weights.policy.adapter,
                    version=weights.policy.version,
                    stage=stage,
                    index=index,
                    metadata={"question": problem.question, "answer": problem.answer},
                )
            )
    return requests


def sample(
    bench: Bench,
    weights: Weights,
    problems: Sequence[Problem],
    plan: SamplingPlan,
    *,
    on_completion: Callable[[Completion], None] | None = None,
) -> list[Completion]:
    """All completions of a plan, in canonical order; those already in the run folder are not drawn again.

    Args:
        on_completion: called with each new completion as it arrives.

    Raises:
        SamplerFailed: more than half of the requests failed even when retried.
    """
    requests = requests_for(bench, weights, problems, plan)
    stage = requests[0].stage if requests else plan.digest(weights)
    have = {c.id: c for c in bench.run.read("completions", Completion, containing=stage) if c.stage == stage}
    bench.progress.stage(in_words(plan.name), len(requests))
    with bench.run.stage(plan.name, stage) as journal, bench.spent.on("sampling"):
        # What failed in a finished stage stays failed: later stages were built on what it gave.
        missing = [] if journal.is_finished else [r for r in requests if not _is_answered(r, have)]
        bench.progress.advance(len(requests) - len(missing))
        if missing:
            with bench.open_sampler(weights) as session:
                _draw(bench, session, missing, have, on_completion)
        completions = [_attempts(r, have)[-1] for r in requests]
        failed = [c for c in completions if c.finish_reason == "error"]
        if len(failed) > MAX_ERROR_SHARE * len(completions):
            raise SamplerFailed(
                f"{len(failed)} of {len(completions)} samples failed in stage {plan.name}",
                seen=failed[0].note,
                expected="a sampler that answers",
                advice="mend the sampler, then go on with --resume: failed samples are drawn again "
                "(a recording that is too short needs a new run with a lower num_samples)",
            )
        journal.result.update(
            completions=len(completions), failed=len(failed), tokens=sum(len(c.token_ids) for c in completions)
        )
    return completions


def in_words(stage: str) -> str:
    """A stage's name as people are shown it: "it1-sample" is "iteration 1: sample"."""
    found = re.fullmatch(r"it(\d+)-(.*)", stage)
    return f"iteration {found[1]}: {found[2]}" if found else stage


def _attempt(request: SampleRequest, number: int) -> SampleRequest:
    """The request under the id of its `number`-th attempt; 0 is the request itself."""
    return replace(request, id=record_id(request.stage, request.problem_id, None, request.index, number))


def _attempts(request: SampleRequest, have: dict[str, Completion]) -> list[Completion]:
    """What the attempts at a request gave, in order; only the last can be other than an error."""
    found: list[Completion] = []
    while (completion := have.get(_attempt(request, len(found)).id)) is not None:
        found.append(completion)
    return found


def _is_answered(request: SampleRequest, have: dict[str, Completion]) -> bool:
    attempts = _attempts(request, have)
    return bool(attempts) and attempts[-1].finish_reason != "error"


def _draw(
    bench: Bench,
    session: SamplerSession,
    requests: Sequence[SampleRequest],
    have: dict[str, Completion],
    on_completion: Callable[[Completion], None] | None,
) -> None:
    """Submit, store what comes back as it comes, and ask once more for what failed."""
    retries: dict[str, SampleRequest] = {}
    for request in requests:
        number = len(_attempts(request, have))
        first = _attempt(request, number)
        retries[first.id] = _attempt(request, number + 1)
        session.submit(first)
    for completion in session.completions():
        bench.run.append("completions", completion)
        have[completion.id] = completion
        if completion.finish_reason == "error" and completion.id in retries:
            session.submit(retries[completion.id])
            continue
        bench.progress.advance()
        if on_completion is not None:
            on_completion(completion)


def grade(
    bench: Bench, problems: Sequence[Problem], completions: Sequence[Completion], *, name: str
) -> dict[str, Verdict]:
    """A verdict for each completion, by completion id; those in the run folder are not judged again.

    Verdicts of outcome `error` are asked for once more before they are written.
    """
    by_id = {p.id: p for p in problems}
    wanted = {c.id for c in completions}
    verdicts = {v.completion_id: v for v in bench.run.read("verdicts", Verdict) if v.completion_id in wanted}
    todo = [(by_id[c.problem_id], c) for c in completions if c.id not in verdicts]
    stages = sorted({c.stage for c in completions})
    with bench.run.stage(name, digest(["grade", name, stages])) as journal, bench.spent.on("grading"):
        for start in range(0, len(todo), GRADED_AT_ONCE):
            made = _judge(bench, todo[start : start + GRADED_AT_ONCE])
            bench.run.append_many("verdicts", made)
            verdicts |= {v.completion_id: v for v in made}
        _check_grader(bench, completions, verdicts)
        _tell_trouble(bench, verdicts.values(), in_words(name))
        journal.result.update(count_outcomes(verdicts.values()))
    return verdicts


def _check_grader(bench: Bench, completions: Sequence[Completion], verdicts: dict[str, Verdict]) -> None:
    """Give up where the grader itself fails on most samples, with its first reason."""
    failed = [verdicts[c.id] for c in completions if verdicts[c.id].outcome == "error" and c.finish_reason != "error"]
    if len(failed) > MAX_ERROR_SHARE * len(completions):
        raise RunFailed(
            f"the grader {bench.grader.name} failed on {len(failed)} of {len(completions)} samples",
            seen=failed[0].note or failed[0].decided_by,
            expected="a verdict, a bool or a number for each sample",
            advice="mend the grader and begin a new run: verdicts that are written are not asked for again",
        )


def _tell_trouble(bench: Bench, verdicts: Collection[Verdict], stage: str) -> None:
    """Warn where more than 0.5 % of a stage's answers timed out or could not be graded, or a tier is absent."""
    for text in trouble(tally(verdicts)):
        bench.progress.note(f"warning: {stage}: {text}")
    if isinstance(bench.grader, Grader | UserGrader) and (why := bench.grader.absence()):
        bench.progress.note(f"warning: {why}")


def _judge(bench: Bench, todo: Sequence[tuple[Problem, Completion]]) -> list[Verdict]:
    """Verdicts in order; a failure of the grader's own is asked for once more."""
    made = bench.grader.grade_many(todo)
    again = [i for i, v in enumerate(made) if v.outcome == "error" and todo[i][1].finish_reason != "error"]
    for i, verdict in zip(again, bench.grader.grade_many([todo[i] for i in again]), strict=True):
        made[i] = verdict
    return made


def count_outcomes(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How many verdicts of each outcome, all seven named."""
    return {str(outcome): count for outcome, count in tally(verdicts).items()}


def evaluate(
    bench: Bench,
    weights: Weights,
    problems: Sequence[Problem],
    strategy: Strategy | str,
    *,
    name: str,
    data: str,
    params: SamplingParams,
    seed: int,
) -> StrategyResult:
    """Accuracy of `weights` on `problems` under a strategy, its per-problem results kept in the run folder.

    Args:
        strategy: e.g. "greedy" or "maj@8"; its number of samples is drawn, and greedy draws one at temperature 0.
        name: prefix of the stage names, e.g. "it1".
        data: name of the data, for the records.
    """
    plan_of = parse_strategy(strategy) if isinstance(strategy, str) else strategy
    label = f"{name}-{plan_of.name}"
    drawn = replace(params, temperature=0.0) if plan_of.kind == "greedy" else params
    plan = SamplingPlan(label, drawn, plan_of.num_samples, seed)
    completions = sample(bench, weights, problems, plan)
    verdicts = grade(bench, problems, completions, name=f"{label}-grade")
    try:
        result = score_strategy(plan_of, problems, completions, verdicts)
    except InputError as error:  # the user's words were right: what failed is our sampling or grading of all problems
        raise RunFailed(error.what, seen=error.seen, expected=error.expected, advice=error.advice) from error
    ids: dict[str, list[str]] = {}
    for completion in completions:
        ids.setdefault(completion.problem_id, []).append(completion.id)
    stage = digest([plan.digest(weights), sorted({c.stage for c in completions})])
    bench.run.append_many(
        "evaluations",
        [
            EvaluationResult(
                id=record_id(stage, p.id),
                name=name,
                strategy=plan_of.name,
                data=data,
                problem_id=p.id,
                value=result.per_problem[p.id],
                completion_ids=tuple(ids.get(p.id, ())),
            )
            for p in problems
            if p.id in result.per_problem
        ],
    )
    return result


def interval(result: StrategyResult) -> dict[str, Any]:
    """A result as the report shows it."""
    return {"accuracy": result.value, "low": result.low, "high": result.high, "n": result.n}
