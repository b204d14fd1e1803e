"""The claims of the study of the 360 pipeline, and the effects that were predicted for them before its test run.

Numbers are what the pilot on dev problems gave, with seeds that the study does not use: mean of each contrast and its
standard deviation over seeds (`results/reproduce_pipeline_predicted.jsonl`). Where the pilot went against the source
the prediction is negative: the claim is then expected to come out `opposite`.
"""

from __future__ import annotations

from pathlib import Path

from cells import read_rows
from reproduce_statistics import Claim, Contrast, Term

PREDICTIONS = Path(__file__).parent / "results" / "reproduce_pipeline_predicted.jsonl"
WORLD = "primer"
PREDICTED = {row["contrast"]: (row["mean"], row["spread"]) for row in read_rows(PREDICTIONS)}


def contrast(name: str, *terms: Term) -> Contrast:
    """A contrast with its prediction."""
    return Contrast(name, terms, *PREDICTED.get(f"{WORLD}: {name}", (None, None)))


def over(better: str, worse: str, metric: str = "greedy", name: str | None = None) -> Contrast:
    """`better` minus `worse`."""
    return contrast(name or f"{better} - {worse}", Term(1, better, metric), Term(-1, worse, metric))


def claim(name: str, text: str, paper: str, *contrasts: Contrast) -> Claim:
    """A claim about the built-in world."""
    return Claim(name, text, paper, WORLD, contrasts)


CLAIMS = (
    claim(
        "union", "SFT < RFT < RFT on the union of samplers", "35.9, 41.7, 49.3 (7B, GSM8K)",
        over("rft", "sft"), over("union", "rft"),
    ),
    claim(
        "samplers", "Other samplers are worth more than more samples of one", "-",
        over("union", "thrice"),
        over("union", "thrice", "distinct", "union - thrice, distinct paths of 100 problems"),
    ),
    claim(
        "data", "RFT's gain is not only one of more updates", "-", over("rft", "sft-long"),
    ),
    claim(
        "log", "Distinct paths grow like log k", "accuracy is log-like in k",
        contrast("sampler-primer: R2 of log k - R2 of k (hundredths)", Term(1, "sampler-primer", "log_over_linear")),
        contrast("sampler-small: R2 of log k - R2 of k (hundredths)", Term(1, "sampler-small", "log_over_linear")),
    ),
    claim(
        "small", "A smaller, worse sampler gives more distinct paths", "5.25 of 7B, 2.78 of 33B",
        over("sampler-primer", "sampler-small", "greedy", "premise: sampler-primer - sampler-small, greedy"),
        over("sampler-small", "sampler-primer", "distinct", "small - primer, distinct paths of 100 problems"),
    ),
    claim(
        "dedup", "Few diverse paths are worth more than every right one", "41.7 and 43.6 (7B), 54.8 and 53.7 (13B)",
        over("rft-again", "rft-all"),
    ),
    claim(
        "repeats", "It is the repeats, not the updates that they bring", "-",
        over("rft-all", "rft-long"), over("all-short", "rft-again"),
    ),
    claim(
        "answers", "With few worked solutions: SFT < RFT on problems with answers only < RFT on the union", "-",
        over("few-rft", "few"), over("few-union", "few-rft"),
    ),
    claim("answers-data", "Its gain is not one of more updates", "-", over("few-rft", "few-long")),
    claim(
        "sizes", "Samplers of three sizes are worth more than one", "41.7, 49.3 (7B, up to 13B)",
        over("union-sizes", "rft-again"),
        over("union-sizes", "rft-again", "distinct", "union-sizes - rft-again, distinct paths of 100 problems"),
    ),
    claim(
        "schools", "Samplers of two schoolings are worth more than one drawn twice", "-",
        over("union-schools", "tiny-twice"),
        over("union-schools", "tiny-twice", "distinct", "union-schools - tiny-twice, distinct paths of 100 problems"),
    ),
    claim("hard", "Hard pairs are better than best-versus-worst pairs", "win 17, lose 10", over("hard", "best-worst")),
    claim("gain", "Hard pairs improve the model", "win 17, lose 10", over("hard", "start")),
    claim("worst", "Best-versus-worst pairs improve it too (the talk: no)", "no gain", over("best-worst", "start")),
    claim(
        "judged", "Hard pairs are better than best-versus-worst pairs by a judge's score", "win 17, lose 10",
        over("hard", "best-worst-judged"), over("hard-judged", "best-worst-judged"),
    ),
    claim(
        "judged-worst", "Best-versus-worst pairs by a judge's score improve it too (the talk: no)", "no gain",
        over("best-worst-judged", "start"),
    ),
    claim(
        "styles", "Hard pairs of prose and programs improve its programs, and its prose with programs run",
        "-", over("hard-both-pot", "start-both-pot"), over("hard-both-any", "start-both-any"),
    ),
    claim("prose", "They improve its prose, programs not run", "-", over("hard-both", "start-both")),
    claim("ppo", "PPO gains at the samples of DPO, and more than DPO", "+1", over("ppo", "start"), over("ppo", "hard")),
    claim(
        "dynamic", "The dynamic loss helps on hard problems", "-",
        over("dynamic@hard", "plain@hard"), over("dynamic-pot@hard", "plain-pot@hard"),
    ),
)  # fmt: skip
