"""The pairing rule of Iterative RPO, its variants, and what is counted on the way."""

from __future__ import annotations

import random
from collections import Counter
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.records import Completion, Policy, Problem, SamplingParams, Verdict
from tutelage.selection.pairs import PairSettings, cap, make_pairs, paper_pairs, scored_pairs, shuffled_pairs

PROBLEMS = [Problem("p", "1+1?", "2", solution="1 + 1 = 2"), Problem("q", "2+2?", "4")]


def sample(problem: str, index: int, text: str | None = None, prompt: tuple[int, ...] = (1, 2)) -> Completion:
    text = f"{problem}{index}" if text is None else text
    return Completion(
        id=f"{problem}-{index}",
        problem_id=problem,
        role="answer",
        policy=Policy("m"),
        tokenizer_digest="t",
        prompt_ids=prompt,
        token_ids=(*map(ord, text), 0),
        text=text,
        segments=((0, len(text), "model"), (len(text), len(text) + 1, "forced")),
        token_logprobs=(0.0,) * (len(text) + 1),
        finish_reason="stop",
        params=SamplingParams(),
        seed=0,
        index=index,
    )


def judge(completion: Completion, outcome: str, score: float | None = None) -> Verdict:
    if score is None and outcome not in ("undecided", "error"):
        score = float(outcome == "correct")
    return Verdict(completion.id, completion.problem_id, outcome, score)  # type: ignore[arg-type]


def judged(outcomes: str, problem: str = "p") -> tuple[list[Completion], list[Verdict]]:
    """One sample for each letter: c(orrect), i(ncorrect), n(o answer), t(runcated), u(ndecided), e(rror)."""
    names = {"c": "correct", "i": "incorrect", "n": "no_answer", "t": "truncated", "u": "undecided", "e": "error"}
    completions = [sample(problem, index) for index in range(len(outcomes))]
    return completions, [judge(c, names[o]) for c, o in zip(completions, outcomes, strict=True)]


def chosen_and_rejected(outcomes: str, settings: PairSettings, **options: object) -> list[tuple[str, str]]:
    result = make_pairs(PROBLEMS[:1], *judged(outcomes), settings, **options)  # type: ignore[arg-type]
    return [(p.chosen_id, p.rejected_id) for p in result.pairs]


# --- the paper's walk


def test_the_walk_by_hand() -> None:
    # Winners a b, losers x y z, K = 7: a list that runs out starts again.
    assert paper_pairs("ab", "xyz", 7) == [(*"ax",), (*"by",), (*"az",), (*"bx",), (*"ay",), (*"bz",), (*"ax",)]
    assert paper_pairs("a", "x", 3) == [("a", "x")] * 3
    assert paper_pairs("", "x", 3) == [] == paper_pairs("a", "", 3)
    # Lengths 2 and 4 share a factor: only 4 of 8 combinations are ever visited.
    assert len(set(paper_pairs("ab", "wxyz", 100))) == 4


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 60))
def test_the_walk_in_general(num_winners: int, num_losers: int, count: int) -> None:
    pairs = paper_pairs(range(num_winners), range(num_losers), count)
    assert len(pairs) == count
    assert all((w, loser) == (k % num_winners, k % num_losers) for k, (w, loser) in enumerate(pairs))
    period = num_winners * num_losers // gcd(num_winners, num_losers)
    assert len(set(pairs)) == min(count, period)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 60), st.integers(0, 5))
def test_the_shuffled_product_uses_all_combinations_equally(w: int, n: int, count: int, seed: int) -> None:
    pairs = shuffled_pairs(range(w), range(n), count, rng=random.Random(seed))
    assert len(pairs) == count
    uses = Counter(pairs)
    assert len(uses) == min(count, w * n) and max(uses.values()) - min(uses.values()) <= 1
    assert pairs == shuffled_pairs(range(w), range(n), count, rng=random.Random(seed))
    assert shuffled_pairs([], range(n), count, rng=random.Random(seed)) == []


@given(st.lists(st.floats(0, 10), max_size=7), st.integers(1, 30), st.sampled_from([0.0, 0.5, 3.0]))
def test_higher_scores_win_by_the_margin(scores: list[float], count: int, margin: float) -> None:
    items = list(enumerate(scores))
    pairs = scored_pairs(items, count, margin=margin, rng=random.Random(0))
    eligible = {(i, j) for i, a in items for j, b in items if a > b and a - b >= margin}
    assert len(pairs) == len(set(pairs)) == min(count, len(eligible)) and set(pairs) <= eligible


# --- records


def test_a_pair_by_hand() -> None:
    result = make_pairs(PROBLEMS[:1], *judged("ic"), PairSettings(count=1), seed=5, iteration=2)
    (pair,) = result.pairs
    assert (pair.problem_id, pair.prompt_ids, pair.rule, pair.iteration, pair.weight) == ("p", (1, 2), "paper", 2, 1.0)
    assert (pair.chosen_id, pair.rejected_id) == ("p-1", "p-0")
    assert pair.chosen_ids == (ord("p"), ord("1"), 0) and pair.rejected_ids == (ord("p"), ord("0"), 0)
    assert pair.chosen_mask == (1, 1, 0) == pair.rejected_mask
    assert result.counts["paired"] == 1 and result.counts["pairs"] == 1


def test_order_of_arrival_does_not_matter() -> None:
    completions, verdicts = judged("cicinc")
    expected = make_pairs(PROBLEMS[:1], completions, verdicts, PairSettings(count=5))
    shuffled = random.Random(3).sample(completions, len(completions))
    by_id = {v.completion_id: v for v in reversed(verdicts)}
    assert make_pairs(PROBLEMS[:1], shuffled, by_id, PairSettings(count=5)) == expected
    assert [(p.chosen_id, p.rejected_id) for p in expected.pairs] == [
        ("p-0", "p-1"),
        ("p-2", "p-3"),
        ("p-5", "p-4"),
        ("p-0", "p-1"),
        ("p-2", "p-3"),
    ]


def test_ids_are_different_and_made_again_the_same() -> None:
    def ids(**options: object) -> list[str]:
        settings = PairSettings(count=4, order=options.pop("order", "paper"))  # type: ignore[arg-type]
        return [p.id for p in make_pairs(PROBLEMS[:1], *judged("ci"), settings, **options).pairs]  # type: ignore[arg-type]

    assert len(set(ids())) == 4
    assert ids() == ids()
    assert not set(ids()) & set(ids(iteration=1)) and not set(ids()) & set(ids(order="product_shuffle"))


def test_failures_of_ours_never_enter_a_pair_and_every_failure_of_the_model_may_lose() -> None:
    result = make_pairs(PROBLEMS[:1], *judged("cueitn"), PairSettings(count=6))
    assert [p.rejected_id for p in result.pairs] == ["p-3", "p-4", "p-5"] * 2
    assert result.counts["excluded_completions"] == 2


def test_ungraded_and_foreign_completions_and_repeats_are_left_out() -> None:
    completions, verdicts = judged("cic")
    result = make_pairs(
        PROBLEMS[:1], [*completions, completions[0], sample("other", 0)], verdicts[:2], PairSettings(count=2)
    )
    assert [(p.chosen_id, p.rejected_id) for p in result.pairs] == [("p-0", "p-1")] * 2
    assert result.counts["excluded_completions"] == 1 and result.counts["problems"] == 1


@pytest.mark.parametrize(
    ("outcomes", "fate"), [("cc", "all_right"), ("in", "all_wrong"), ("ue", "no_usable"), ("", "no_usable")]
)
def test_problems_without_pairs_are_counted(outcomes: str, fate: str) -> None:
    result = make_pairs(PROBLEMS[:1], *judged(outcomes), PairSettings())
    assert result.pairs == [] and result.counts[fate] == 1 and result.counts["problems"] == 1


@given(st.lists(st.text("cinue", max_size=6), max_size=6), st.integers(1, 5), st.booleans())
def test_every_problem_has_one_fate(outcomes: list[str], count: int, dedupe: bool) -> None:
    problems = [Problem(f"p{i}", "?", "1") for i in range(len(outcomes))]
    rows = [judged(o, f"p{i}") for i, o in enumerate(outcomes)]
    completions, verdicts = [c for cs, _ in rows for c in cs], [v for _, vs in rows for v in vs]
    pairs, counts = make_pairs(problems, completions, verdicts, PairSettings(count=count, dedupe=dedupe))
    fates = ("paired", "all_right", "all_wrong", "no_margin", "identical", "no_usable")
    assert sum(counts[f] for f in fates) == counts["problems"] == len(problems)
    assert counts["pairs"] == len(pairs) and counts["paired"] == len({p.problem_id for p in pairs})
    right = {v.completion_id for v in verdicts if v.is_correct}
    usable = {v.completion_id for v in verdicts if v.is_usable}
    assert all(p.chosen_id in right and p.rejected_id in usable - right for p in pairs)
    if not dedupe:
        assert len(pairs) == count * counts["paired"]


# --- variants


def test_dedupe_uses_texts_and_combinations_once() -> None:
    completions = [sample("p", 0, "yes"), sample("p", 1, "yes "), sample("p", 2, "no"), sample("p", 3, "nope")]
    verdicts = [judge(c, o) for c, o in zip(completions, ("correct", "correct", "incorrect", "incorrect"), strict=True)]
    result = make_pairs(PROBLEMS[:1], completions, verdicts, PairSettings(count=10, dedupe=True))
    assert [(p.chosen_id, p.rejected_id) for p in result.pairs] == [("p-0", "p-2"), ("p-0", "p-3")]


def test_sides_that_read_the_same_make_no_pair() -> None:
    completions = [sample("p", 0, "2"), sample("p", 1, "2")]
    verdicts = [judge(completions[0], "correct"), judge(completions[1], "incorrect")]
    result = make_pairs(PROBLEMS[:1], completions, verdicts, PairSettings(count=3))
    assert result.pairs == []
    assert result.counts["identical_texts"] == 3 and result.counts["identical"] == 1 and result.counts["paired"] == 0


def test_completions_of_different_prompts_are_not_paired_with_each_other() -> None:
    completions = [sample("p", 0), sample("p", 1, prompt=(9,)), sample("p", 2), sample("p", 3, prompt=(9,))]
    verdicts = [judge(c, "correct" if i < 2 else "incorrect") for i, c in enumerate(completions)]
    result = make_pairs(PROBLEMS[:1], completions, verdicts, PairSettings(count=1))
    assert [(p.prompt_ids, p.chosen_id, p.rejected_id) for p in result.pairs] == [
        ((1, 2), "p-0", "p-2"),
        ((9,), "p-1", "p-3"),
    ]


@pytest.mark.parametrize(
    ("gold", "outcomes", "expected"),
    [
        ("never", "i", []),
        ("always", "i", ["gold:p"] * 3),
        ("always", "ci", ["p-0", "gold:p", "p-0"]),
        ("always", "cc", []),
        ("when_missing", "ci", ["p-0"] * 3),
        ("when_missing", "i", ["gold:p"] * 3),
    ],
)
def test_gold_solutions_among_the_winners(gold: str, outcomes: str, expected: list[str]) -> None:
    settings = PairSettings(count=3, gold=gold)  # type: ignore[arg-type]
    result = make_pairs(PROBLEMS[:1], *judged(outcomes), settings, gold_ids=lambda p: [7, 8])
    assert [p.chosen_id for p in result.pairs] == expected
    assert result.counts["gold_chosen"] == expected.count("gold:p")
    for pair in result.pairs:
        if pair.chosen_id == "gold:p":
            assert pair.chosen_ids == (7, 8) and pair.chosen_mask == (1, 1)


def test_gold_is_asked_only_of_problems_that_have_a_solution() -> None:
    asked = []

    def gold_ids(problem: Problem) -> tuple[int, ...]:
        asked.append(problem.id)
        return (7,)

    rows = [judged("i", "p"), judged("i", "q")]
    make_pairs(
        PROBLEMS,
        [c for cs, _ in rows for c in cs],
        [v for _, vs in rows for v in vs],
        PairSettings(gold="always"),
        gold_ids=gold_ids,
    )
    assert asked == ["p"]


def test_scores_that_are_not_zero_or_one() -> None:
    completions = [sample("p", i) for i in range(4)]
    scores = [0.2, 0.9, 0.6, 0.9]
    verdicts = [judge(c, "incorrect", s) for c, s in zip(completions, scores, strict=True)]
    settings = PairSettings(count=10, margin=0.35)
    result = make_pairs(PROBLEMS[:1], completions, verdicts, settings, gold_ids=lambda p: [7])
    assert {(p.chosen_id, p.rejected_id) for p in result.pairs} == {("p-1", "p-0"), ("p-3", "p-0"), ("p-2", "p-0")}
    assert {p.rule for p in result.pairs} == {"score"}
    far = make_pairs(PROBLEMS[:1], completions, verdicts, PairSettings(margin=0.8))
    assert far.pairs == [] and far.counts["no_margin"] == 1


# --- the cap


def test_cap_keeps_the_same_slots_in_every_iteration() -> None:
    problems = [Problem(f"p{i}", "?", "1") for i in range(60)]
    rows = [judged("ciic", f"p{i}") for i in range(60)]
    completions, verdicts = [c for cs, _ in rows for c in cs], [v for _, vs in rows for v in vs]

    def slots(iteration: int, seed: int = 0) -> list[tuple[str, str, str]]:
        settings = PairSettings(count=5, limit=100)
        result = make_pairs(problems, completions, verdicts, settings, iteration=iteration, seed=seed)
        assert len(result.pairs) == 100 == result.counts["pairs"] and result.counts["over_limit"] == 200
        return [(p.problem_id, p.chosen_id, p.rejected_id) for p in result.pairs]

    assert slots(1) == slots(2)
    assert slots(1) != slots(1, seed=1)
    order = [int(problem[1:]) for problem, _, _ in slots(1)]
    assert order == sorted(order) and len(set(order)) > 40
    pairs = make_pairs(problems, completions, verdicts, PairSettings(count=1)).pairs
    assert cap(pairs, 60, seed=0) == pairs and cap(pairs, 0, seed=0) == []
