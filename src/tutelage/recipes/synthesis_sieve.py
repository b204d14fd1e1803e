"""What becomes of the questions that were written: form, likeness to the whole pool, test questions, solvability.

In this order, so that solutions are sampled only of questions that passed everything else. The pool holds the seeds and
every question that was unlike all before it, also those that were dropped later: what nobody could solve once is not
asked again in other words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from tutelage.errors import NothingToLearn
from tutelage.evaluation.contamination import Contamination, TestQuestions
from tutelage.evaluation.metrics import answer_key
from tutelage.recipes.synthesis_records import KEPT, Ask, Candidate
from tutelage.recipes.synthesis_solutions import without_closing, worked
from tutelage.records import Completion, Problem, record_id
from tutelage.selection.dedupe import Likeness, Pool
from tutelage.selection.questions import FormRules, fault_of_form, read_list
from tutelage.text.answers import UnreadableGold, infer_kind, read_gold
from tutelage.text.extraction import extract


class SieveSettings(Protocol):
    """The settings that say what is dropped."""

    fewest_words: int
    most_words: int
    banned: list[str]
    rouge_l: float
    jaccard: float
    ngram: int
    near: float
    contamination_ngram: int
    contamination_share: float
    min_agreement: float


class Sieve:
    """Decides over questions, round by round.

    Args:
        settings: the limits.
        seeds: what questions must differ from.
        test: test problems that no question may be.
    """

    def __init__(self, settings: SieveSettings, seeds: Sequence[Problem], test: Sequence[Problem]) -> None:
        self.settings = settings
        self._form = FormRules(settings.fewest_words, settings.most_words, tuple(settings.banned))
        self._pool = Pool(Likeness(settings.rouge_l, settings.jaccard, settings.ngram))
        self._pool.hold([seed.question for seed in seeds])
        self._names = [seed.id for seed in seeds]
        rules = Contamination(settings.near, settings.contamination_ngram, settings.contamination_share)
        self._tests = TestQuestions(test, rules) if test else None

    def sift(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates with their fates so far; `kept` are those that are worth solving."""
        found = [self._formed(candidate) for candidate in candidates]
        return self._untested(self._unlike(found))

    def _formed(self, candidate: Candidate) -> Candidate:
        if candidate.fate != KEPT:
            return candidate
        fault = fault_of_form(candidate.question, self._form)
        return candidate if fault is None else replace(candidate, fate=fault)

    def _unlike(self, candidates: list[Candidate]) -> list[Candidate]:
        """Against the pool and each other, earlier ones first."""
        places = [place for place, candidate in enumerate(candidates) if candidate.fate == KEPT]
        self._names += [candidates[place].id for place in places]
        for place, match in zip(places, self._pool.offer([candidates[p].question for p in places]), strict=True):
            if match is not None:
                name, value = self._names[match.row], round(match.value, 4)
                candidates[place] = replace(
                    candidates[place], fate="similar", similar_to=name, rule=match.rule, likeness=value
                )
        return candidates

    def _untested(self, candidates: list[Candidate]) -> list[Candidate]:
        if self._tests is None:
            return candidates
        found = self._tests.inside([bare_problem(candidate) for candidate in candidates if candidate.fate == KEPT])
        for place, candidate in enumerate(candidates):
            if candidate.fate == KEPT and (overlap := found.get(candidate.problem_id)):
                candidates[place] = replace(
                    candidate, fate="contaminated", similar_to=overlap.test_id, rule=overlap.kind,
                    likeness=overlap.likeness,
                )  # fmt: skip
        return candidates

    def judged(self, candidate: Candidate, solutions: Sequence[Completion]) -> Candidate:
        """The candidate with the answer that most of its solutions give, if enough do, and one of these (`worked`).

        A tie goes to the answer given first. Solutions without an answer, and cut ones, count among all.
        """
        votes: dict[object, list[tuple[str, Completion]]] = {}
        for solution in solutions:
            answer = extract(solution.text).answer if solution.finish_reason == "stop" else None
            if answer is not None:
                votes.setdefault(answer_key(answer), []).append((answer, solution))
        candidate = replace(candidate, num_solutions=len(solutions))
        if not votes:
            return replace(candidate, fate="no_answer", agreement=0.0)
        most = max(votes.values(), key=len)
        answer, chosen = most[0][0], worked(solution for _, solution in most)
        candidate = replace(candidate, answer=answer, agreement=round(len(most) / len(solutions), 4))
        if len(most) < self.settings.min_agreement * len(solutions):
            return replace(candidate, fate="no_agreement")
        try:
            read_gold(answer, infer_kind(answer))
        except UnreadableGold:
            return replace(candidate, fate="unreadable_answer")
        if chosen is None:
            return candidate
        return replace(candidate, solution=without_closing(chosen.text), solution_id=chosen.id)


def read_candidates(ask: Ask, completion: Completion, round: int) -> list[Candidate]:
    """The questions in what was written; one cut by a length limit has the fate `truncated`."""
    is_cut = completion.finish_reason != "stop"
    if not ask.is_list:
        texts, cut = [completion.text.strip()], [is_cut]
    else:
        whole = read_list(completion.text, is_begun=ask.is_begun, is_cut=is_cut)
        every = read_list(completion.text, is_begun=ask.is_begun, is_cut=False)
        texts, cut = every, [place >= len(whole) for place in range(len(every))]
    found = []
    for index, (text, is_truncated) in enumerate(zip(texts, cut, strict=True)):
        if not text:
            continue
        name = record_id(completion.stage, ask.id, completion.id, index)
        found.append(
            Candidate(
                id=name, question=text, field=ask.field, mode=ask.mode, keywords=ask.keywords, source_id=completion.id,
                round=round, fate="truncated" if is_truncated else KEPT, problem_id=f"synthetic-{name}",
            )
        )  # fmt: skip
    return found


def bare_problem(candidate: Candidate) -> Problem:
    """The question as a problem whose answer is not known yet."""
    return Problem(candidate.problem_id, candidate.question, "", "text", subject=candidate.field, source="synthesize")


def nothing_kept(written: int, candidates: Sequence[Candidate], counts: dict[str, int]) -> NothingToLearn:
    """The error that says why a first round kept no question, and what to try."""
    if not candidates:
        return NothingToLearn(
            "the model wrote no question", seen=f"{written} completions without one",
            expected="a numbered list of problems in reply to each request",
            advice="look at the completions in the run folder; use a model that follows instructions, or raise "
            "write_tokens",
        )  # fmt: skip
    worst = max(counts, key=lambda name: counts[name])
    advice = {
        "truncated": "raise write_tokens",
        "similar": "raise rouge_l and jaccard, ask for more variety (keyword_share, harder_share, persona_share, "
        "a higher temperature), or give more seeds",
        "contaminated": "the seeds may hold the test questions: check them with tutelage data check",
        "no_agreement": "lower min_agreement, or name a stronger solver=",
        "no_answer": "name a solver= that ends with a final answer, or raise max_new_tokens",
    }
    return NothingToLearn(
        "every question was dropped, so there is nothing to keep",
        seen=", ".join(f"{count} {name}" for name, count in counts.items() if count),
        expected="some questions that pass every filter",
        advice=advice.get(worst, "look at the candidates in the run folder, and loosen the filter that drops most"),
    )
