"""The claims of the critics study, and the effects that were predicted for them before its test runs.

Findings of arXiv 2411.16579, whose figures are plots without published numbers; what is published beside it is of arXiv
2510.24320, Table 1. Predictions are what pilot runs on dev problems gave, with seeds that the study does not use. Where
the pilot went against the paper the prediction is negative: the claim is then expected to come out `opposite`.
"""

from __future__ import annotations

from pathlib import Path

from cells import read_rows
from reproduce_critique_plan import SIZES
from reproduce_statistics import Claim, Contrast, Term

PREDICTIONS = Path(__file__).parent / "results" / "reproduce_critique_predicted.jsonl"
WORLD = "primer"


def predicted() -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over pilot seeds by contrast; empty before the pilot."""
    return {row["contrast"]: (row["mean"], row["spread"]) for row in read_rows(PREDICTIONS)}


PREDICTED = predicted()


def contrast(name: str, *terms: Term) -> Contrast:
    """A contrast with its prediction."""
    return Contrast(name, terms, *PREDICTED.get(f"{WORLD}: {name}", (None, None)))


def over(better: str, worse: str, metric: str = "greedy", words: str = "") -> Contrast:
    """`better` minus `worse`, both stages, on one metric."""
    ending = f", {words or metric}" if metric != "greedy" else ""
    return contrast(f"{better} - {worse}{ending}", Term(1, better, metric), Term(-1, worse, metric))


def within(stage: str, better: str, worse: str) -> Contrast:
    """One figure of a stage minus another one."""
    return contrast(f"{stage}: {better} - {worse}", Term(1, stage, better), Term(-1, stage, worse))


def growth(first: tuple[str, str], second: tuple[str, str], metric: str = "greedy") -> Contrast:
    """The gain of `first` (later, earlier) minus the gain of `second`."""
    name = f"({first[0]} - {first[1]}) - ({second[0]} - {second[1]})"
    signs = ((1, first[0]), (-1, first[1]), (-1, second[0]), (1, second[1]))
    return contrast(name, *(Term(sign, stage, metric) for sign, stage in signs))


def claim(name: str, text: str, paper: str, *contrasts: Contrast) -> Claim:
    """A claim of this study."""
    return Claim(name, text, paper, WORLD, contrasts)


CLAIMS = (
    claim("critic-learns", "A trained critic is better at verdicts than the untrained one", "Table of critics; §3",
          over("exact", "untrained", "verdict_accuracy"),
          over("exact", "untrained", "f1", "F1 of the first wrong step")),
    claim("critic-helps", "The trained critic raises the actor's accuracy", "MATH 36.9 to 44.2 (2510.24320)",
          within("exact", "after", "before")),
    claim("helps-more", "It raises it more than the untrained critic", "§3",
          over("exact", "untrained", "after", "actor after refinement")),
    claim("hard-gain", "The gain is larger on hard problems than on easy ones", "largest on the hardest of five levels",
          within("exact", "gain_hard", "gain_easy")),
    claim("quality", "Annotation quality matters: exact against 30 % wrong step verdicts", "-",
          over("exact", "noisy:0.3", "f1", "F1 of the first wrong step"),
          over("exact", "noisy:0.3", "after", "actor after refinement")),
    claim("votes-equal-cost", "A vote of K refined answers is better than a vote of 3K plain ones", "Figures of §4",
          *(over(f"critic-maj@{k}", f"maj@{3 * k}") for k in (1, 2, 4))),
    claim("votes", "A vote of K refined answers is better than a vote of K plain ones", "Figures of §4",
          over("critic-maj@4", "maj@4")),
    claim("oracle", "Refining only what is wrong is at least as good as refining all", "w/ oracle",
          over("refine-oracle", "refine")),
    claim("bottleneck", "A trained critic is better than the actor's own critique", "§1",
          over("refine", "self-refine")),
    claim("parallel-small", "Votes: parallel is better than sequential at small K", "§4",
          over("critic-maj@2", "sequential@2:vote")),
    claim("sequential-large", "Votes: sequential is better than parallel at large K", "§4",
          over("sequential@4:vote", "critic-maj@4")),
    claim("parallel-pass", "pass@K: parallel is better than sequential", "slightly",
          over("critic-maj@4:pass", "sequential@4:pass")),
    claim("vote-over-last", "Along a chain the vote is better than the last answer", "§4",
          over("sequential@4:vote", "sequential@4")),
    claim("loop-over-vanilla", "The loop is better than vanilla self-improvement", "Figure of §5",
          *(over(f"loop-{t}", f"vanilla-{t}") for t in (1, 2, 3))),
    claim("plateau", "After round 1 the loop gains more than vanilla does", "vanilla stalls or falls",
          over("loop-3", "loop-1"), growth(("loop-3", "loop-1"), ("vanilla-3", "vanilla-1"))),
    claim("long-tail", "Hard problems have a larger share of the loop's data than of vanilla's", "Figure of §5",
          *(over(f"loop-{t}", f"vanilla-{t}", "hard_share") for t in (1, 2, 3))),
    claim("more-samples", "The gap grows with the number of samples N", "Figure of §5",
          growth(("loop@8-1", "vanilla@8-1"), ("loop-1", "vanilla-1"))),
    claim("absorbed", "A critic at test time helps less after the loop", "§5",
          growth(("loop-0+critic", "loop-0"), ("loop-3+critic", "loop-3"))),
    claim("best-of-four", "The loop with the critic at test time is the best of four ways", "Table of §5",
          *(over("loop-3+critic", f"{way}+critic") for way in ("refine-data-0", "correct-data-0", "vanilla-3"))),
    claim("over-gold", "The loop is better than gold solutions of the same problems (the control)", "-",
          over("loop-3", "gold-0")),
    claim("self-talk", "Self-talk is better than trajectory-level self-correction", "§6, MATH",
          over("self-talk", "self-correct"), over("self-talk:vote", "self-correct:vote"),
          over("self-talk:pass", "self-correct:pass")),
    claim("two-players", "Two players are better than self-talk", "§6, MATH",
          over("two players", "self-talk"), over("two players:vote", "self-talk:vote"),
          over("two players:pass", "self-talk:pass")),
    claim("correction-costs", "Learning to correct costs accuracy: the corrected solutions alone are better", "-",
          over("plain", "self-correct"), over("plain", "self-talk")),
    claim("one-critic", "One critic helps actors of all sizes", "3B critic, actors 1.5B to 14B",
          *(over(f"{split}: {size}+primer", f"{split}: {size}+alone") for split in ("easy", "hard") for size in SIZES)),
    claim("larger-actor", "Easy problems: it helps larger actors less", "GSM8K",
          growth(("easy: small+primer", "easy: small+alone"), ("easy: primer+primer", "easy: primer+alone"))),
    claim("larger-critic", "A larger critic helps the same actor more", "-",
          over("easy: primer+primer", "easy: primer+tiny"), over("hard: primer+primer", "hard: primer+tiny")),
)  # fmt: skip
