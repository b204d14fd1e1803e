"""A critic: supervised fine-tuning on step-level critiques, measured by what it says and what that does to an actor.

    1. examples from critique data: prompt = question, solution, request; target = the critique (prompt masked)
    2. measure the model as it is, prompted for critiques
    3. minimise the mean negative log-likelihood of the critiques
    4. measure again on the same answers: verdicts, first wrong step, the actor's accuracy after refinement; by level

Source: arXiv 2411.16579, section 3; learning rate and epochs of arXiv 2510.24320, where the first does not give them.

Deviations: none in the method. The paper counts how well right and wrong answers are told apart; here also the first
wrong step, where its truth is known: on the built-in problems, and on solutions that people labelled (`labelled`).

Cost: answers x (critique + refinement), twice; and `level_samples` answers a problem for the levels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from tutelage.config.settings import (
    DataSettings,
    EvaluationSettings,
    ModelSettings,
    RunSettings,
    SamplerSettings,
    TrainingSettings,
    setting,
)
from tutelage.errors import NothingToLearn
from tutelage.evaluation.comparisons import compare
from tutelage.evaluation.critic_metrics import CriticCase
from tutelage.evaluation.critic_prompts import critique_form, critique_prompt, target_ids
from tutelage.problems.critique_files import CritiqueRow, UnreadableRow, read_critiques
from tutelage.problems.inspection import check_overlap
from tutelage.problems.labelled_solutions import read_labelled
from tutelage.recipes import learn
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.critic_measure import (
    Answers,
    Measured,
    draw_answers,
    figures,
    measure_critic,
    measure_on_labelled,
)
from tutelage.recipes.estimate import Workload
from tutelage.recipes.report import IterationReport, ReportBuilder
from tutelage.recipes.strategy_stage import Seat
from tutelage.records import Example, Problem, SamplingParams, digest, record_id
from tutelage.text.critiques import write_critique
from tutelage.text.prompts import Prompter

NAME = "critic"
PAPER = "arXiv 2411.16579"
PROXY = "arXiv 2510.24320"


class Config(DataSettings, ModelSettings, SamplerSettings, TrainingSettings, EvaluationSettings, RunSettings):
    """Settings of a critic. `model` is what becomes the critic; `data` are the problems that it is measured on."""

    critiques: str = setting(..., "Critique data: a run of critique-data, a file of its `dataset`, or released rows.")
    actor: str | None = setting(None, "Whose answers are judged and refined; none is the model before training.")
    labelled: str | None = setting(None, "File of solutions with labelled first errors, to measure on as well.")
    labelled_limit: int | None = setting(None, "Most labelled solutions; none is all.", ge=1)
    critic_temperature: float = setting(0.0, "Temperature of critiques.", source=f"{PAPER}, code", ge=0, le=5)
    critic_tokens: int = setting(1536, "Longest critique.", unit="tokens", source=f"{PAPER}, code", ge=1)
    critic_tries: int = setting(1, "How often a critic is asked until its text can be read.", ge=1, le=100)
    max_new_tokens: int = setting(1024, "Longest answer.", unit="tokens", source=f"{PAPER}, code", ge=1)
    num_answers: int = setting(4, "Answers of each problem that are judged.", ge=1)
    level_samples: int = setting(
        100, "Samples a problem that its level of difficulty rests on; 0 measures none.", source=f"{PAPER}: 100", ge=0
    )
    learning_rate: float = setting(5e-6, "Peak learning rate.", source=f"{PROXY}", gt=0, le=1)
    epochs: float = setting(5.0, "Passes over the critiques.", source=f"{PROXY}", gt=0, le=1000)
    nll_average: Literal["sequence", "token"] = setting(
        "sequence", "NLL per token of each critique then over the batch, or over all tokens of the batch."
    )

    def workload(self, num_train: int, num_test: int) -> Workload:
        """What a run does at most; the number of critiques is not known before, `max_steps` bounds it."""
        tested = min(self.eval_limit or num_test, num_test)
        steps = min(self.max_steps, math.ceil(self.epochs * num_train / self.batch_size))
        return Workload(tested * (self.num_answers * 5 + self.level_samples), 0, max(1, steps), self.batch_size)


def run(config: Config, bench: Bench) -> dict[str, Any]:
    """Run the recipe; returns the report, which is also in the run folder.

    Raises:
        NothingToLearn: the data hold no critique that can be read.
        DataError: they cannot be read.
    """
    rows, bad = read_critiques(critique_path(config.critiques))
    examples = examples_of(rows, bad, bench.prompter, config.critiques)
    report = ReportBuilder(NAME, config, bench)
    problems = bench.test[: config.eval_limit]
    actor = actor_of(config, bench)
    answers = draw_answers(actor, problems, num=config.num_answers, level_samples=config.level_samples,
                           seed=config.seed)  # fmt: skip

    before = measured(config, bench, bench.base, actor, answers, "it0")
    report.add(IterationReport(0))
    bench.run.append_many("examples", examples)
    weights, learnt = learn.from_examples(config, bench, bench.base, examples)
    learnt.alarms += told(rows, bad, problems)
    after = measured(config, bench, weights, actor, answers, "it1")
    report.add(learnt)
    result = critic_report(config, before, after)
    actor_name, data = config.actor or config.model, config.eval_data or config.data
    whole = {
        **report.finish(), "critic": result, "remarks": in_words(result, len(examples)),
        "next_steps": [("use it at test time", f"tutelage eval {actor_name} --data {data} "
                        "--critic {folder}/checkpoints/it1 -s critic-maj@4 -s maj@12")],
    }  # fmt: skip
    bench.run.write_report(whole)
    return whole


def measured(
    config: Config, bench: Bench, weights: Weights, actor: Seat, answers: Answers, name: str
) -> dict[str, Measured]:
    """What critic weights make of the actor's answers and, where there are some, of labelled solutions."""
    critic = Seat(bench, weights, SamplingParams(config.critic_temperature, max_new_tokens=config.critic_tokens))
    seed, tries = config.seed, config.critic_tries
    problems = bench.test[: config.eval_limit]
    found = {"answers": measure_critic(actor, critic, problems, answers, name=f"{name}-critic", seed=seed, tries=tries)}
    if config.labelled is not None:
        solutions = read_labelled(Path(config.labelled).expanduser(), config.labelled_limit)
        found["labelled"] = measure_on_labelled(critic, solutions, name=f"{name}-labelled", seed=seed, tries=tries)
    return found


def critique_path(name: str) -> Path:
    """The file or folder of critiques that a user's word stands for; a run folder's records are read."""
    path = Path(name).expanduser()
    records = path / "critique_samples"
    return records if records.is_dir() else path


def examples_of(
    rows: Sequence[CritiqueRow], bad: Sequence[UnreadableRow], prompter: Prompter, name: str
) -> list[Example]:
    """One example of each critique, written in the form that this model's critiques have."""
    form = critique_form(prompter)
    texts = [[row.id, row.question, row.solution, write_critique(row.critique, form)] for row in rows]
    stage = digest(["critic-examples", texts])
    examples = []
    for row, (_, _, _, text) in zip(rows, texts, strict=True):
        problem = Problem(row.id, row.question, row.answer)
        target = target_ids(prompter, text)
        examples.append(
            Example(
                record_id(stage, row.id), row.id, critique_prompt(prompter, problem, row.solution).ids, target,
                (1.0,) * len(target), "critique", row.id,
            )
        )  # fmt: skip
    if not examples:
        raise NothingToLearn(
            "no critique can be read", seen=f"{name}: {len(bad)} rows, the first: {bad[0].where}, {bad[0].reason}",
            expected="critiques in the form of the MathCritique data or of the built-in model",
            advice="make the data with critique-data",
        )  # fmt: skip
    return examples


def actor_of(config: Config, bench: Bench) -> Seat:
    """Whose answers are judged."""
    guest = bench if config.actor in (None, config.model) else bench.invite(str(config.actor))
    params = SamplingParams(config.eval_temperature, max_new_tokens=config.max_new_tokens)
    return Seat.at(guest, params, label=config.actor or "")


def told(rows: Sequence[CritiqueRow], bad: Sequence[UnreadableRow], problems: Sequence[Problem]) -> list[str]:
    """What to say of the data: rows left out, and evaluation questions among them."""
    out = []
    if bad:
        out.append(f"{len(bad)} of {len(rows) + len(bad)} critiques could not be read and were left out: "
                   f"the first is {bad[0].where}, {bad[0].reason}")  # fmt: skip
    known = check_overlap([Problem(row.id, row.question, row.answer) for row in rows], problems)
    if known:
        out.append(f"{len(known)} of {len(problems)} evaluation questions are among those of the critiques")
    return out


def critic_report(config: Config, before: dict[str, Measured], after: dict[str, Measured]) -> dict[str, Any]:
    """Figures of the critic before and after, and the two compared on the same answers."""
    out: dict[str, Any] = {}
    for data, first in before.items():
        second = after[data]
        out[data] = {
            "before": figures(first, seed=config.seed, with_help=data == "answers"),
            "after": figures(second, seed=config.seed, with_help=data == "answers"),
        }
        pairs = {"verdicts": (_verdicts(first.cases), _verdicts(second.cases))}
        if data == "answers":
            pairs["help"] = (_ends(first.cases), _ends(second.cases))
        out[data]["compared"] = {
            name: dataclasses.asdict(compare(*pair, seed=config.seed))
            for name, pair in pairs.items() if len(pair[0].keys() & pair[1].keys()) > 1
        }  # fmt: skip
    return out


def _by_problem(cases: Sequence[CriticCase], values: Sequence[bool]) -> dict[str, float]:
    found: dict[str, list[bool]] = {}
    for case, value in zip(cases, values, strict=True):
        found.setdefault(case.problem_id, []).append(value)
    return {name: sum(own) / len(own) for name, own in found.items()}


def _verdicts(cases: Sequence[CriticCase]) -> dict[str, float]:
    return _by_problem(cases, [case.said_right == case.is_right for case in cases])


def _ends(cases: Sequence[CriticCase]) -> dict[str, float]:
    return _by_problem(cases, [case.is_right if case.refined_right is None else case.refined_right for case in cases])


def in_words(result: dict[str, Any], count: int) -> list[str]:
    """The main figures for people."""
    out = [f"{count} critiques learnt"]
    for data, both in result.items():
        for when in ("before", "after"):
            own = both[when]
            line = f"{data}, {when}: verdicts {own['verdicts']['accuracy']:.1%} right"
            if (own.get("first_error") or {}).get("f1") is not None:
                line += f", first wrong step F1 {own['first_error']['f1']:.1%}"
            if "help" in own:
                line += f", the actor {own['help']['before']:.1%} -> {own['help']['after']:.1%}"
            out.append(line)
    return out
