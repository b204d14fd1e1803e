"""A judge: a language model that writes what it thinks of a solution, then scores it from 1 to 10 in four bands.

    1. M samples N solutions of each training problem; they are graded, right and wrong ones taken in turn
    2. the teacher (`annotator`), shown the reference answer, writes analysis and score of each; a text that cannot be
       read is asked for again, then counted and left out
    3. each student <- supervised fine-tuning on these texts (prompt masked)
    4. on answers to problems not trained on: teacher's and students' accuracy of right and wrong at a threshold,
       correlation with the truth, scores of right and wrong answers; AUC within and across problems, beside a reward
       model's
    5. how many right and wrong answers pass the reward model's top M, the judge's cut, and both

Sources: the 360 talk (2024): GPT-4o as teacher, 85.94 % against about 84.76 % of the student; arXiv 2404.02893 §3:
bands, form and settings. Both show the judge the reference answer (`reference`).
Deviations: 2404.02893 trains on 10k ratings at the extremes and 5k from people in between; here all come from the
teacher (`ratings` takes others). On the built-in problems the world's truth may teach (`exact`, `noisy:P`).

Cost: training problems x N samples, and as many ratings as are learnt; answers x (teacher and students).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from tutelage.config.settings import (
    DataSettings,
    EvaluationSettings,
    ModelSettings,
    RunSettings,
    SamplerSettings,
    TrainingSettings,
    setting,
)
from tutelage.errors import NothingToLearn, RunFailed
from tutelage.evaluation.judge_flows import Opinion
from tutelage.models.loading import count_parameters
from tutelage.problems.inspection import check_overlap
from tutelage.recipes import judge_card, learn, stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.critique_annotators import world_annotator
from tutelage.recipes.estimate import Workload
from tutelage.recipes.judge_data import JudgeSample, Teacher, examples_of, read_samples, samples_of, to_rate
from tutelage.recipes.judging import CHATGLM, opinions
from tutelage.recipes.report import IterationReport, ReportBuilder
from tutelage.recipes.scoring import open_reader
from tutelage.recipes.strategy_stage import Seat
from tutelage.records import Completion, Problem, SamplingParams, Verdict
from tutelage.text.ratings import HIGHEST, LOWEST, RIGHT_FROM

NAME = "judge"


class Config(DataSettings, ModelSettings, SamplerSettings, TrainingSettings, EvaluationSettings, RunSettings):
    """Settings of a judge. `model` writes the solutions that are judged."""

    annotator: str | None = setting(
        "exact", "Teacher: a model folder or hub name, `server:URL`; on the built-in problems also `exact`, or "
        "`noisy:P` with a share P of wrong verdicts on steps; with `ratings` it may be none.",
        source="the 360 talk: GPT-4o",
    )  # fmt: skip
    ratings: str | None = setting(
        None, "Ratings to learn from instead: a run of judge, or a file of question, answer, solution, analysis, score."
    )
    students: list[str] = setting([], "Models that become judges, each for itself; none is `model`.")
    annotation_tries: int = setting(3, "How often the teacher is asked until its score can be read.", ge=1, le=100)
    annotation_temperature: float = setting(0.0, "Temperature of the teacher's first try.", ge=0, le=5)
    annotation_tokens: int = setting(1024, "Teacher's longest analysis and score.", unit="tokens", ge=1)
    num_samples: int = setting(8, "Solutions sampled of each training problem, N.", source=f"{CHATGLM}: 5 to 10", ge=1)
    temperature: float = setting(1.0, "Temperature of these.", gt=0, le=5)
    max_new_tokens: int = setting(512, "Longest solution.", unit="tokens", ge=1)
    rated_per_problem: int = setting(4, "Most solutions of a problem that are rated.", ge=1)
    check_grader: bool = setting(False, "Leave out ratings that contradict the grader's verdict.")
    reference: bool = setting(True, "Show judges the reference answer.", source=f"{CHATGLM} §3; the 360 talk")
    judge_temperature: float = setting(0.0, "Temperature of a student's first try.", ge=0, le=5)
    judge_tokens: int = setting(1024, "A student's longest analysis and score.", unit="tokens", ge=1)
    judge_tries: int = setting(1, "How often a student is asked until its score can be read.", ge=1, le=100)
    untrained: bool = setting(False, "Measure the students before they are trained, too.")
    num_answers: int = setting(4, "Answers of each evaluation problem that are judged.", ge=1)
    threshold: int = setting(
        RIGHT_FROM, "Score from which an answer is called right.", source=f"{CHATGLM} §3: 6", ge=LOWEST, le=HIGHEST
    )
    reward_model: str | None = setting(
        None, "Reward model (a run or folder) to compare with, and to filter together with."
    )
    keep_top: int = setting(2, "M of its filter.", unit="solutions a problem", ge=1)
    learning_rate: float = setting(3e-6, "Peak learning rate.", source=f"{CHATGLM} §3", gt=0, le=1)
    batch_size: int = setting(128, "Ratings in one optimizer step.", source=f"{CHATGLM} §3", ge=1)
    epochs: float = setting(3.0, "Passes over the ratings.", gt=0, le=1000)
    nll_average: Literal["sequence", "token"] = setting("sequence", "NLL per token of each rating, or of the batch.")

    @model_validator(mode="after")
    def _somebody_teaches(self) -> Config:
        if self.annotator is None and self.ratings is None:
            raise ValueError("annotator writes what is learnt: without one, ratings must name ratings that are there")
        return self

    def workload(self, num_train: int, num_test: int) -> Workload:
        """What a run does at most."""
        students, tested = max(1, len(self.students)), min(self.eval_limit or num_test, num_test) * self.num_answers
        rated = num_train * min(self.rated_per_problem, self.num_samples)
        steps = students * min(self.max_steps, math.ceil(self.epochs * rated / self.batch_size))
        drawn = num_train * self.num_samples + tested * (2 + students * (1 + self.untrained))
        return Workload(drawn + rated, 0, max(1, steps), self.batch_size)


@dataclass(frozen=True)
class Answers:
    """Answers that judges are measured on; each could be graded."""

    problems: Sequence[Problem]
    completions: Sequence[Completion]
    verdicts: Mapping[str, Verdict]


def run(config: Config, bench: Bench) -> dict[str, Any]:
    """Run the recipe; returns the report, which is also in the run folder.

    Raises:
        InputError: the annotator is not usable.
        NothingToLearn: no rating was kept.
        RunFailed: no evaluation answer could be graded.
    """
    report = ReportBuilder(NAME, config, bench)
    teacher = teacher_of(config, bench)
    reader = open_reader(config, bench)
    samples = practise(config, bench, teacher, report)
    report.add(IterationReport(0, alarms=known_questions(samples, bench.test[: config.eval_limit])))
    answers = draw_answers(config, bench)
    taught = teacher.rate(bench, answers.completions, answers.problems, name="teacher-eval") if teacher else None
    rewards = None if reader is None else reader.scores(bench, answers.completions, name="reward-eval")
    students = [
        school(config, bench, report, samples, answers, taught, rewards, number)
        for number in range(1, max(1, len(config.students)) + 1)
    ]  # fmt: skip
    card = {
        "data": judge_card.data_card(samples), "threshold": config.threshold, "reference": config.reference,
        "answers": {"n": len(answers.completions), "right": sum(v.is_correct for v in answers.verdicts.values())},
        "annotator": config.annotator, "teacher": taught and worth(config, answers, taught), "students": students,
        "reward_model": rewards and judge_card.reward_figures(answers.completions, answers.verdicts, rewards,
                                                              seed=config.seed),
    }  # fmt: skip
    steps = [["cut by it in rejection tuning", "tutelage run diverse-rft model=MODEL data=DATA judge={folder}"]]
    whole = {**report.finish(), "judge": card, "remarks": judge_card.remarks(card), "next_steps": steps}
    bench.run.write_report(whole)
    return whole


def teacher_of(config: Config, bench: Bench) -> Teacher | None:
    """Who rates what is learnt from, and what students are compared with; None where the ratings are there already."""
    if config.annotator is None:
        return None
    problems = [*bench.train, *bench.test[: config.eval_limit]]
    world = world_annotator(config.annotator, problems, config.seed)
    seat = None
    if world is None:
        guest = bench if config.annotator == config.model else bench.invite(config.annotator)
        params = SamplingParams(config.annotation_temperature, max_new_tokens=config.annotation_tokens)
        seat = Seat.at(guest, params, label=config.annotator)
    return Teacher(config.annotator, world, seat, config.annotation_tries, config.seed)


def practise(config: Config, bench: Bench, teacher: Teacher | None, report: ReportBuilder) -> list[JudgeSample]:
    """Steps 1 and 2: ratings to learn from.

    Raises:
        NothingToLearn: none was kept.
    """
    completions: Sequence[Completion] = ()
    if config.ratings is not None:
        path = Path(config.ratings).expanduser()
        records = path / "judge_samples"
        samples = read_samples(records if records.is_dir() else path)
    else:
        assert teacher is not None and config.annotator is not None  # the settings were checked for it
        params = SamplingParams(config.temperature, max_new_tokens=config.max_new_tokens)
        plan = stages.SamplingPlan("it1-sample", params, config.num_samples, config.seed, round=1)
        completions = stages.sample(bench, bench.base, bench.train, plan)
        verdicts = stages.grade(bench, bench.train, completions, name="it1-grade")
        report.count(verdicts.values())
        chosen = to_rate(completions, verdicts, config.rated_per_problem)
        rated = teacher.rate(bench, chosen, bench.train, name="teacher-rate")
        samples = samples_of(
            rated, bench.train, verdicts, bench.prompter, annotator=config.annotator, check_grader=config.check_grader
        )
    bench.run.append_many("judge_samples", samples)
    if not any(sample.fate == "kept" for sample in samples):
        raise nothing_kept(samples, completions)
    return samples


def nothing_kept(samples: Sequence[JudgeSample], completions: Sequence[Completion]) -> NothingToLearn:
    """The error that says why no rating was kept; `completions` are the solutions sampled for it, if any were."""
    data = judge_card.data_card(samples)
    blank = sum(not completion.text.strip() for completion in completions)
    told = f"; of {len(completions)} solutions {blank} are empty" if blank else ""
    advice = "take another annotator, or raise annotation_tokens or annotation_tries"
    if not samples:
        advice = "look at the completions in the run folder, and see why the sampler writes nothing that can be rated"
    return NothingToLearn(
        "no rating was kept", seen=f"{data['fates'] or 'no solution to rate'}, {data['unreadable']}{told}",
        expected="at least one analysis that ends in a score from 1 to 10", advice=advice,
    )  # fmt: skip


def known_questions(samples: Sequence[JudgeSample], problems: Sequence[Problem]) -> list[str]:
    """A warning where evaluation questions are among those that are learnt from."""
    learnt = {sample.question: Problem(sample.problem_id, sample.question, sample.answer) for sample in samples}
    known = check_overlap(list(learnt.values()), problems)
    return [f"{len(known)} of {len(problems)} evaluation questions are among those of the ratings"] if known else []


def draw_answers(config: Config, bench: Bench) -> Answers:
    """Answers of the model to evaluation problems, graded."""
    problems = bench.test[: config.eval_limit]
    params = SamplingParams(config.eval_temperature, max_new_tokens=config.max_new_tokens)
    plan = stages.SamplingPlan("judge-answers", params, config.num_answers, config.seed)
    completions = stages.sample(bench, bench.base, problems, plan)
    verdicts = stages.grade(bench, problems, completions, name="judge-answers-grade")
    usable = [c for c in completions if verdicts[c.id].is_usable and c.token_ids]
    if not usable:
        raise RunFailed("no evaluation answer could be graded", seen=f"{len(completions)} answers",
                        expected="some answers that are right or wrong", advice="look at their verdicts")  # fmt: skip
    return Answers(problems, usable, {c.id: verdicts[c.id] for c in usable})


def school(
    config: Config,
    bench: Bench,
    report: ReportBuilder,
    samples: Sequence[JudgeSample],
    answers: Answers,
    taught: Mapping[str, Opinion] | None,
    rewards: Mapping[str, float] | None,
    number: int,
) -> dict[str, Any]:
    """Steps 3 to 5 for one student, saved as `checkpoints/it<number>`; its part of the card."""
    name = config.students[number - 1] if config.students else config.model
    seat = bench if name == config.model else bench.invite(name)
    before = asked(config, seat, seat.base, answers, f"it{number}-untrained") if config.untrained else None
    examples = examples_of(samples, seat.prompter, reference=config.reference)
    bench.run.append_many("examples", examples)
    weights, figures = learn.from_examples(config, seat, seat.base, examples, iteration=number)
    after = asked(config, seat, weights, answers, f"it{number}-eval")
    report.add(figures)
    completions, verdicts = answers.completions, answers.verdicts
    rated = [judge_card.rated_answers(completions, verdicts, said) for said in (taught, after) if said is not None]
    return {
        "student": name, "checkpoint": f"it{number}", "parameters": count_parameters(seat.base.model),
        "before": None if before is None else worth(config, answers, before), "after": worth(config, answers, after),
        "against_teacher": judge_card.beside(*rated, threshold=config.threshold, seed=config.seed) if taught else None,
        "filters": judge_card.filter_table(completions, verdicts, after, threshold=config.threshold, rewards=rewards,
                                           top=config.keep_top),
    }  # fmt: skip


def asked(config: Config, seat: Bench, weights: Weights, answers: Answers, name: str) -> dict[str, Opinion]:
    """What a student says of the evaluation answers."""
    params = SamplingParams(config.judge_temperature, max_new_tokens=config.judge_tokens)
    judge = Seat(seat, weights, params, label=name.partition("-")[0])
    return opinions(
        seat, judge, answers.completions, answers.problems, name=name, seed=config.seed, tries=config.judge_tries,
        reference=config.reference,
    )  # fmt: skip


def worth(config: Config, answers: Answers, said: Mapping[str, Opinion]) -> dict[str, Any]:
    """A judge's figures on the evaluation answers."""
    return judge_card.figures_of(
        answers.completions, answers.verdicts, said, threshold=config.threshold, seed=config.seed
    )
