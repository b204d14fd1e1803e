"""A critic's figures by hand: verdicts, first wrong step, help, levels; votes and equal cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.evaluation.critic_metrics import (
    CriticCase,
    by_level,
    first_error_figures,
    harmonic_mean,
    help_figures,
    verdict_figures,
    with_levels,
)
from tutelage.evaluation.metrics import Vote
from tutelage.evaluation.strategy_names import parse_strategy
from tutelage.evaluation.vote_pictures import equal_cost, num_asked, picture, tally

# Six answers: 2 right (one called right, one unreadable), 4 wrong (called wrong, wrong, right, and unreadable).
CASES = [
    CriticCase("a", True, True, None, None, True),
    CriticCase("a", True, None, None, "unplaced", False),
    CriticCase("b", False, False, 1, 1, True),
    CriticCase("b", False, False, 0, 2, False),
    CriticCase("c", False, True, 2, None, None),
    CriticCase("c", False, None, 0, "unplaced", True),
]


def test_verdicts_by_hand() -> None:
    figures = verdict_figures(CASES)
    assert figures.accuracy == 3 / 6
    assert figures.precision == 1.0, "both answers called wrong are"
    assert figures.recall == 2 / 4, "an unreadable critique finds nothing"
    assert figures.specificity == 1 / 2
    assert figures.unreadable == 2 / 6 and figures.n == 6
    assert 0.5 >= figures.low >= 0 and 0.5 <= figures.high <= 1
    with pytest.raises(ValueError, match="no cases"):
        verdict_figures([])
    only_right = verdict_figures(CASES[:1])
    assert only_right.precision is None and only_right.recall is None


def test_first_error_f1_is_the_harmonic_mean_of_two_accuracies() -> None:
    figures = first_error_figures(CASES)
    assert (figures.on_wrong, figures.on_right) == (1 / 4, 1 / 2)
    assert figures.f1 == pytest.approx(2 * (1 / 4) * (1 / 2) / (1 / 4 + 1 / 2)) == pytest.approx(1 / 3)
    assert (figures.n_wrong, figures.n_right) == (4, 2)
    assert first_error_figures(CASES[2:]).f1 is None, "without right answers there is no second accuracy"
    unknown = [CriticCase("d", True, True)]
    assert first_error_figures(CASES + unknown) == figures, "only known truths count"
    # Calling everything wrong at step 0 gets half of the wrong ones and none of the right ones: F1 0.
    lazy = [CriticCase(c.problem_id, c.is_right, False, c.first_error, 0) for c in CASES]
    assert first_error_figures(lazy).f1 == 0.0 and harmonic_mean(0.0, 0.0) == 0.0


def test_help_by_hand() -> None:
    figures = help_figures(CASES)
    assert figures.before == 2 / 6
    assert figures.after == 3 / 6, "case 1, 3 and 6; what was not refined stays as it was"
    assert figures.gain == pytest.approx(1 / 6)
    assert figures.right_to_wrong == 1 / 2 and figures.wrong_to_right == 2 / 4
    assert figures.low <= figures.gain <= figures.high


@given(st.lists(st.tuples(st.booleans(), st.none() | st.booleans()), min_size=1, max_size=30))
def test_what_goes_which_way_adds_up_to_the_gain(ends) -> None:
    cases = [CriticCase(str(i), right, None, refined_right=end) for i, (right, end) in enumerate(ends)]
    figures = help_figures(cases)
    up = (figures.wrong_to_right or 0) * (1 - figures.before)
    down = (figures.right_to_wrong or 0) * figures.before
    assert figures.gain == pytest.approx(up - down, abs=1e-12)


def test_levels_leave_out_what_was_not_measured() -> None:
    levels = by_level(with_levels(CASES, {"a": 4, "b": 0}), 5)
    assert [len(level) for level in levels] == [2, 0, 0, 0, 2]
    assert all(case.problem_id == "b" for case in levels[0])


def votes(*pairs: tuple[str | None, bool | None]) -> list[Vote]:
    return [Vote(key, is_correct) for key, is_correct in pairs]


def test_a_tally_and_the_picture() -> None:
    plain = tally(votes(("7", True), ("8", False), ("8", False), ("9", False), (None, False)))
    assert (plain.right, plain.wrong, plain.cast, plain.majority_is_right) == (0.25, 0.5, 4, False)
    assert plain.margin == -0.25
    better = tally(votes(("7", True), ("7", True), ("8", False)))
    assert better.margin == pytest.approx(1 / 3) and better.majority_is_right
    assert tally([]).margin == 0 and tally([]).majority_is_right is False
    shown = picture({"p": plain, "q": better, "x": plain}, {"p": better, "q": better, "y": plain})
    assert shown["majority"] == {"both_right": 1, "spoilt": 0, "repaired": 1, "neither": 0}
    assert [row["problem_id"] for row in shown["problems"]] == ["p", "q"], "sorted by the margin without a critic"
    assert shown["problems"][0]["plain_margin"] == -0.25


def test_critics_meet_votes_of_as_many_completions() -> None:
    asked = {"critic-maj@4": 12, "critic-filter@4": 8, "grid@2x3": 14, "sequential@5": 11, "maj@8": 8}
    assert {name: num_asked(parse_strategy(name)) for name in asked} == asked
    names = ["maj@12", "maj@4", "critic-maj@4", "critic-maj@8"]
    results = {parse_strategy(n): {str(i): float(i % (2 + k)) for i in range(10)} for k, n in enumerate(names)}
    results = {s: {p: min(1.0, v) for p, v in values.items()} for s, values in results.items()}
    rows = equal_cost(results, dict.fromkeys(results, 10.0), seed=0)
    assert [(row["strategy"], row["against"]) for row in rows] == [("critic-maj@4", "maj@12")]
    assert rows[0]["difference"] == pytest.approx(0.7 - 0.5) and rows[0]["low"] <= 0.2 <= rows[0]["high"]
