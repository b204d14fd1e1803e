"""The claims of the Iterative RPO study, and the effects that were predicted for them before its test runs.

Effects of accuracies are shares (0.05 is five points), of log-probs nats, of pairs a number. Predictions are what pilot
runs on dev problems gave, with seeds that the study does not use: mean of each contrast and its standard deviation over
seeds. `--pilot` writes them to `results/reproduce_iterative_rpo_predicted.jsonl`; the study does not start without.
Where the pilot went against the paper the prediction is negative: the claim is then expected to come out `opposite`.
"""

from __future__ import annotations

from pathlib import Path

from cells import read_rows
from reproduce_statistics import Claim, Contrast, Term

TRAINED = ("sft-gold", "star-1", "star-2x", "dpo", "dpo-from-star", "irpo-1", "irpo-2x", "irpo-from-star")

PREDICTIONS = Path(__file__).parent / "results" / "reproduce_iterative_rpo_predicted.jsonl"


def predicted() -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over pilot seeds, by world and contrast; empty before the pilot."""
    rows = read_rows(PREDICTIONS)
    return {row["contrast"]: (row["mean"], row["spread"]) for row in rows}


PREDICTED = predicted()


def contrast(world: str, name: str, *terms: Term) -> Contrast:
    """A contrast with its prediction."""
    return Contrast(name, terms, *PREDICTED.get(f"{world}: {name}", (None, None)))


def over(world: str, better: str, worse: str, metric: str = "greedy") -> Contrast:
    """`better` minus `worse`."""
    suffix = "" if metric == "greedy" else f", {metric}"
    return contrast(world, f"{better} - {worse}{suffix}", Term(1, better, metric), Term(-1, worse, metric))


def moves(world: str, stage: str, side: str, direction: str) -> Contrast:
    """The log-prob of chosen or rejected training pairs rises or falls over a stage's training."""
    sign = 1 if direction == "rises" else -1
    return contrast(world, f"{stage}: {side} {direction}", Term(sign, stage, f"{side}:train"))


def first_gain_over_last(world: str, name: str, last: int) -> Contrast:
    """The first iteration's gain minus the last one's."""
    return contrast(
        world, f"{name}: first gain - last gain", Term(1, f"{name}-1"), Term(-1, "zero-shot"),
        Term(-1, f"{name}-{last}"), Term(1, f"{name}-{last - 1}"),
    )  # fmt: skip


def votes_over_greedy(world: str, stage: str) -> Contrast:
    """maj@32 minus greedy on the same problems."""
    return contrast(world, f"{stage}: maj@32 - greedy", Term(1, stage, "votes"), Term(-1, stage))


def pairs_fall(world: str, last: int) -> Contrast:
    """Pairs of the first iteration minus those of the last."""
    return contrast(
        world, f"pairs of iteration 1 - {last}", Term(1, "irpo-1", "pairs"), Term(-1, f"irpo-{last}", "pairs")
    )


P, L, C = "primer", "lucky", "choice"
CLAIMS = (
    Claim("zero-shot-last", "Every trained model is better than zero-shot", "55.6 against 60.3 to 74.8", P,
          tuple(over(P, stage, "zero-shot") for stage in TRAINED)),
    Claim("star-over-gold", "STaR is better than SFT on gold", "65.2 against 63.5", P,
          (over(P, "star-1", "sft-gold"),)),
    Claim("irpo-over-star", "One iteration of Iterative RPO is better than STaR", "73.1 against 65.2", P,
          (over(P, "irpo-1", "star-1"),)),
    Claim("irpo-over-dpo", "DPO + NLL is better than DPO without NLL", "73.1 against 61.8 and 60.3", P,
          (over(P, "irpo-1", "dpo"), over(P, "irpo-from-star", "dpo-from-star"))),
    Claim("star-init", "Starting from STaR does not help Iterative RPO", "73.1 against 73.1", P,
          (over(P, "irpo-1", "irpo-from-star"),)),
    Claim("iterate", "Two iterations are better than one with twice the data", "78.0 against 74.8", P,
          (over(P, "irpo-2", "irpo-2x"),)),
    Claim("saturation", "Gains shrink over iterations", "+17.5, +4.9, +3.1, +0.5", P,
          (first_gain_over_last(P, "irpo", 4), over(P, "irpo-4", "irpo-1"))),
    Claim("votes", "maj@32 is better than greedy at each stage", "70.7 against 55.6; 88.7 against 81.6", P,
          tuple(votes_over_greedy(P, stage) for stage in ("zero-shot", "irpo-1", "irpo-2", "irpo-3", "irpo-4"))),
    Claim("pairs", "Usable pairs become fewer", "ARC 20k, 11k, 5k; GSM8K 55-60k each time", P, (pairs_fall(P, 4),)),
    Claim("dpo-chosen-falls", "Without NLL the chosen lose probability", "Fig. 3", P,
          (moves(P, "dpo", "chosen", "falls"), moves(P, "dpo-from-star", "chosen", "falls"))),
    Claim("nll-chosen-rises", "With NLL the chosen gain probability, the rejected lose it", "Figs. 2a, 3", P,
          (moves(P, "irpo-1", "chosen", "rises"), moves(P, "irpo-1", "rejected", "falls"))),
    Claim("sft-rejected-rises", "SFT on chosen raises the rejected as well", "Fig. 2a", P,
          (moves(P, "star-1", "chosen", "rises"), moves(P, "star-1", "rejected", "rises"))),
    Claim("paper-beta", "At beta 0.1, with its own best rate, Iterative RPO gains with every iteration",
          "+4.9, +3.1, +0.5 after the first", P,
          (over(P, "irpo-paper-2", "irpo-paper-1"), over(P, "irpo-paper-3", "irpo-paper-2"),
           over(P, "irpo-paper-4", "irpo-paper-3"))),
    Claim("when-small", "With little training Iterative RPO is ahead of STaR", "(73.1 against 65.2)", P,
          (over(P, "irpo-small", "star-small"),)),
    Claim("why-beta", "The paper's beta of 0.1 holds Iterative RPO back here; 1, all else equal, is better", "-", P,
          (over(P, "irpo-1", "irpo-beta"),)),
    Claim("lucky-order", "Lucky guesses: zero-shot < STaR < DPO < Iterative RPO", "ARC 77.8, 79.8, 82.8, 84.8", L,
          (over(L, "star-1", "zero-shot"), over(L, "dpo", "star-1"), over(L, "irpo-1", "dpo"))),
    Claim("lucky-survives", "Learning survives lucky guesses", "ARC 77.8, 84.8, 86.2, 86.7", L,
          (over(L, "irpo-1", "zero-shot"), over(L, "irpo-3", "irpo-1"))),
    Claim("lucky-nll", "Lucky guesses: the chosen rise with NLL", "Fig. 4; flat without NLL", L,
          (moves(L, "irpo-1", "chosen", "rises"),)),
    Claim("lucky-pairs", "Lucky guesses: usable pairs become fewer", "ARC 20k, 11k, 5k", L, (pairs_fall(L, 3),)),
    Claim("choice-survives", "With letters only, reasoning improves", "-", C,
          (over(C, "irpo-3", "zero-shot", "reasoned"),)),
)  # fmt: skip
