"""What a judge learns from: solutions, rated by an annotator, and the ratings as examples.

The annotator is a model that is shown the reference answer, or, on the built-in problems, the world's truth (`exact`)
or that truth with a share of wrong verdicts on steps (`noisy:P`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tutelage.errors import DataError
from tutelage.evaluation.critic_prompts import judge_prompt, quoted, rating_form, shown_question, target_ids
from tutelage.evaluation.judge_flows import Opinion
from tutelage.problems.files import Row, read_rows
from tutelage.problems.primer import Annotation, critique_of, story_of
from tutelage.recipes.bench import Bench
from tutelage.recipes.critique_annotators import ANNOTATOR, WorldAnnotator
from tutelage.recipes.judging import opinions
from tutelage.recipes.strategy_stage import Seat
from tutelage.records import Completion, Example, Problem, Record, Verdict, digest, record_id
from tutelage.text.prompts import Prompter, tokenizer_digest
from tutelage.text.ratings import HIGHEST, LOWEST, RIGHT_FROM, Rating, write_rating

Fate = Literal["kept", "unreadable", "contradicts"]
"""What became of a rating: kept; not to be read; on the other side of the grader's verdict, where that is checked."""


@dataclass(frozen=True)
class JudgeSample(Record):
    """A solution and its rating.

    Args:
        question: as judges are shown it, options included.
        answer: the reference answer.
        completion_id: the solution's.
        is_right: the grader's verdict on it.
        analysis, score: the rating; "" and None where none could be read.
        attempts: how often the annotator was asked.
        unreadable: why each attempt that could not be read could not.
    """

    id: str
    problem_id: str
    question: str
    answer: str
    solution: str
    completion_id: str
    is_right: bool
    analysis: str
    score: int | None
    annotator: str
    attempts: int
    unreadable: tuple[str, ...]
    fate: Fate


def to_rate(completions: Iterable[Completion], verdicts: Mapping[str, Verdict], most: int) -> list[Completion]:
    """Different solutions of each problem that are to be rated: right and wrong ones in turn, at most `most`.

    Solutions whose verdict is not usable, or that are empty, are left out.
    """
    sides: dict[str, tuple[dict[str, Completion], dict[str, Completion]]] = {}
    for completion in completions:
        verdict = verdicts.get(completion.id)
        if verdict is not None and verdict.is_usable and completion.text.strip():
            own = sides.setdefault(completion.problem_id, ({}, {}))
            own[0 if verdict.is_correct else 1].setdefault(completion.text.strip(), completion)
    chosen = []
    for right, wrong in sides.values():
        ranked = [(place, side, c) for side, own in enumerate((right, wrong)) for place, c in enumerate(own.values())]
        chosen += [c for _, _, c in sorted(ranked, key=lambda item: item[:2])[:most]]
    return chosen


@dataclass(frozen=True)
class Teacher:
    """Who rates: the built-in world (`world`), or the model in `seat`.

    Args:
        name: as the user gave it.
        tries: how often the model is asked until its text can be read.
        seed: of tries after the first.
    """

    name: str
    world: WorldAnnotator | None
    seat: Seat | None
    tries: int
    seed: int

    def rate(
        self, bench: Bench, completions: Sequence[Completion], problems: Sequence[Problem], *, name: str
    ) -> dict[str, Opinion]:
        """A rating of each completion, by id; a model's are asked with the reference answer."""
        if self.world is not None:
            known = {problem.id: problem for problem in problems}
            return {
                c.id: Opinion(c, true_rating(known[c.problem_id], self.world.truth(known[c.problem_id], c.text)))
                for c in completions
            }
        assert self.seat is not None
        return opinions(
            bench, self.seat, completions, problems, name=name, seed=self.seed, tries=self.tries, player=ANNOTATOR
        )


def true_rating(problem: Problem, annotation: Annotation) -> Rating:
    """What a judge who holds `annotation` for the truth about a solution of a built-in problem would write.

    The analysis is the critique's lines on steps; the score, `true_score` of them.
    """
    lines = critique_of(story_of(problem), annotation).split("\n")[:-1]
    return Rating("\n".join(lines), true_score(annotation))


def true_score(annotation: Annotation) -> int:
    """The score of the published bands: by the answer first, then by the share of right steps.

    - answer wrong or missing: 1 without a step, 2 with wrong steps only; else 3, 4 or 5 where at most a third, at most
      two thirds, or more of the steps are right
    - answer right: 10 where every step is right, 9 never; else 8 with one wrong step, 7 with two, 6 with more
    """
    right, steps = sum(step.is_correct for step in annotation.steps), len(annotation.steps)
    if annotation.final_is_correct:
        return 10 if right == steps else max(6, 9 - (steps - right))
    if not right:
        return 2 if steps else 1
    return 3 + (3 * right > steps) + (3 * right > 2 * steps)


def samples_of(
    opinions_of: Mapping[str, Opinion],
    problems: Sequence[Problem],
    verdicts: Mapping[str, Verdict],
    prompter: Prompter,
    *,
    annotator: str,
    check_grader: bool,
) -> list[JudgeSample]:
    """The ratings as records, and what became of each.

    Args:
        prompter: the actor's; its questions are shown.
        check_grader: whether a rating that contradicts the grader is left out.
    """
    known, samples = {problem.id: problem for problem in problems}, []
    for key, opinion in opinions_of.items():
        solution, rating = opinion.solution, opinion.rating
        problem, is_right = known[solution.problem_id], verdicts[key].is_correct
        fate: Fate = "kept" if rating is not None else "unreadable"
        if rating is not None and check_grader and (rating.score >= RIGHT_FROM) != is_right:
            fate = "contradicts"
        samples.append(
            JudgeSample(
                record_id(digest(["judge-samples", annotator]), problem.id, key), problem.id,
                shown_question(prompter, problem), problem.answer, quoted(prompter, solution.text).strip(), key,
                is_right, "" if rating is None else rating.analysis, opinion.score, annotator,
                max(1, len(opinion.said)), opinion.unreadable, fate,
            )
        )  # fmt: skip
    return samples


def read_samples(path: Path) -> list[JudgeSample]:
    """Ratings that were made before: a run's `judge_samples`, or rows of question, answer, solution, analysis, score.

    Raises:
        DataError: a row has not these fields, or there is none.
    """
    samples = [_sample(number, row) for number, row in enumerate(read_rows(path))]
    if not samples:
        raise DataError("there are no ratings in the file", seen=str(path), expected="at least one row")
    return samples


def _sample(number: int, row: Row) -> JudgeSample:
    data = row.data
    texts = [data.get(name) for name in ("question", "answer", "solution")]
    analysis, score, fate = data.get("analysis", ""), data.get("score"), data.get("fate", "kept")
    is_score = isinstance(score, int) and not isinstance(score, bool) and LOWEST <= score <= HIGHEST
    if not all(isinstance(text, str) for text in (*texts, analysis)) or (fate == "kept" and not is_score):
        raise DataError(
            f"{row.where} is no rating", seen=", ".join(f"{name}={value!r}"[:60] for name, value in data.items()),
            expected="question, answer, solution and analysis as texts, score a whole number from 1 to 10",
            advice="convert the file",
        )  # fmt: skip
    question, answer, solution = (str(text) for text in texts)
    key = str(data.get("id", f"rating-{number}"))
    return JudgeSample(
        key, str(data.get("problem_id", key)), question, answer, solution, str(data.get("completion_id", "")),
        bool(data.get("is_right", is_score and int(score or 0) >= RIGHT_FROM)), analysis, score if is_score else None,
        str(data.get("annotator", path_free(row.where))), int(data.get("attempts", 1)), (), fate,
    )  # fmt: skip


def path_free(where: str) -> str:
    """The last part of a place in a file, so that records do not hold a machine's paths."""
    return where.rpartition("/")[2]


def examples_of(samples: Sequence[JudgeSample], prompter: Prompter, *, reference: bool) -> list[Example]:
    """One example of each kept rating, in the form that this model's ratings have; the prompt is masked."""
    form = rating_form(prompter)
    kept = [sample for sample in samples if sample.fate == "kept" and sample.score is not None]
    texts = [write_rating(Rating(sample.analysis, sample.score or 0), form) for sample in kept]
    learnt = [[sample.id, sample.solution, text] for sample, text in zip(kept, texts, strict=True)]
    stage = digest(["judge-examples", reference, form, tokenizer_digest(prompter.tokenizer), learnt])
    examples = []
    for sample, text in zip(kept, texts, strict=True):
        problem = Problem(sample.problem_id, sample.question, sample.answer)
        target = target_ids(prompter, text)
        prompt = judge_prompt(prompter, problem, sample.solution, reference=reference)
        examples.append(
            Example(
                record_id(stage, sample.problem_id, sample.id), sample.problem_id, prompt.ids, target,
                (1.0,) * len(target), "judge", sample.completion_id or sample.id,
            )
        )  # fmt: skip
    return examples
