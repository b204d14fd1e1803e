"""Right samples and worked solutions as supervised examples."""

from __future__ import annotations

from tutelage.records import Completion, Policy, PreferencePair, Problem, SamplingParams, Verdict
from tutelage.selection.examples import chosen_examples, examples_of_pairs, gold_examples

PROBLEM = Problem("p", "1+1?", "2")


def sample(index: int, text: str) -> Completion:
    ids = tuple(map(ord, text))
    spans = ((0, len(ids) - 1, "model"), (len(ids) - 1, len(ids), "tool"))
    return Completion(
        f"c{index}", "p", "answer", Policy("m"), "t", (1,), ids, text, spans, (0.0,) * len(ids), "stop",
        SamplingParams(), 0, index=index,
    )  # fmt: skip


def verdicts(*outcomes: str) -> list[Verdict]:
    return [Verdict(f"c{i}", "p", o, float(o == "correct")) for i, o in enumerate(outcomes)]  # type: ignore[arg-type]


def test_only_correct_samples_with_their_masks() -> None:
    completions = [sample(0, "ab"), sample(1, "cd"), sample(2, "efg"), sample(3, "xy")]
    examples = chosen_examples(
        [PROBLEM], completions[::-1], verdicts("correct", "incorrect", "correct", "undecided"), stage="s"
    )
    assert [(e.source_id, e.target_ids, e.weights) for e in examples] == [
        ("c0", (97, 98), (1.0, 0.0)),
        ("c2", (101, 102, 103), (1.0, 1.0, 0.0)),
    ]
    assert all(e.origin == "self" and e.problem_id == "p" and e.prompt_ids == (1,) for e in examples)
    assert len({e.id for e in examples}) == 2


def test_dedupe_and_limit() -> None:
    completions = [sample(i, text) for i, text in enumerate(["ab", "ab ", "cd", "ab", "ef", "gh"])]
    judged = verdicts(*["correct"] * 6)

    def sources(**options: object) -> list[str]:
        return [e.source_id for e in chosen_examples([PROBLEM], completions, judged, stage="s", **options)]  # type: ignore[arg-type]

    assert sources() == ["c0", "c2", "c4", "c5"]
    assert sources(dedupe=False) == [f"c{i}" for i in range(6)]
    limited = sources(limit=2)
    assert len(limited) == 2 and limited == sources(limit=2) and limited == sorted(limited)
    assert {tuple(sources(limit=2, seed=s)) for s in range(20)} > {tuple(limited)}


def test_gold_examples() -> None:
    examples = gold_examples({"q": (1, 2), "p": (3,), "r": (4,)}, {"p": (7, 8), "q": (9,)}, stage="s")
    assert [(e.problem_id, e.prompt_ids, e.target_ids, e.weights) for e in examples] == [
        ("q", (1, 2), (9,), (1.0,)),
        ("p", (3,), (7, 8), (1.0, 1.0)),
    ]
    assert examples[0].source_id == "gold:q" and examples[0].origin == "gold"


def test_chosen_sides_of_pairs_once_each() -> None:
    def pair(chosen: str, rejected: str) -> PreferencePair:
        return PreferencePair(chosen + rejected, "p", (1,), (2, 3), (4,), (1, 0), (1,), chosen, rejected, "paper")

    examples = examples_of_pairs([pair("c0", "c1"), pair("gold:p", "c1"), pair("c0", "c2")], stage="s")
    assert [(e.source_id, e.origin, e.weights) for e in examples] == [
        ("c0", "self", (1.0, 0.0)),
        ("gold:p", "gold", (1.0, 0.0)),
    ]
