"""How a study's claims are decided: contrasts of stages over seeds and problems, power, verdicts.

A contrast is a weighted sum of figures, of problems (solved or not) or of a whole stage. Its interval covers both
seeds and problems: the standard error adds the variance of the seeds' means and that of the problems' means, and the
quantile is Student's t with seeds - 1 degrees of freedom; problem noise is counted twice, so it errs on the wide side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import numpy as np
from scipy import stats

Verdict = Literal["shown", "opposite", "unresolved"]
CONFIDENCE, POWER = 0.95, 0.8


@dataclass(frozen=True)
class Term:
    """`weight` times a figure of a stage.

    Metrics: `greedy`, `votes` and `reasoned` (all steps right, whatever the answer) are 0 or 1 for each problem, or a
    chance where the row has `values`;
    `votes` on the first ones only, and a contrast uses the problems that all its terms have. `pairs` is a number.
    `chosen:unseen`, `rejected:train` and the like are changes of mean log-prob sums over the training of that stage,
    in nats.
    Any other name is one of the stage's `figures`, a share.
    """

    weight: float
    stage: str
    metric: str = "greedy"


@dataclass(frozen=True)
class Contrast:
    """A sum of terms that the claim says is above zero.

    Args:
        name: in words.
        terms: what is summed.
        predicted: the effect expected, in the terms' unit; None where no pilot run had it.
        spread: standard deviation over seeds that was seen in pilot runs, > 0.
    """

    name: str
    terms: tuple[Term, ...]
    predicted: float | None
    spread: float | None

    @property
    def is_share(self) -> bool:
        """Whether it is a share of problems, which tables show in percent."""
        metric = self.terms[0].metric
        return metric != "pairs" and ":" not in metric


@dataclass(frozen=True)
class Claim:
    """A finding of the paper, or about it, as contrasts that must all hold.

    Args:
        name: short, for machines.
        text: the finding in words.
        paper: the paper's figures for it.
        world: where it is looked for.
        contrasts: all above zero if the claim holds.
    """

    name: str
    text: str
    paper: str
    world: str
    contrasts: tuple[Contrast, ...]


@dataclass(frozen=True)
class Decision:
    """What the rows say of a contrast: mean, 95 % interval, seeds, seeds needed for power 0.8, verdict.

    `needed` is None where it is over 200 or nothing was predicted.
    """

    mean: float
    low: float
    high: float
    seeds: int
    needed: int | None
    verdict: Verdict


Rows = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""Stage rows by stage name and seed."""


def figure(row: Mapping[str, Any], metric: str) -> np.ndarray | None:
    """A metric of a stage row: one number for each problem, or a single one; None where the row has none."""
    if metric in ("greedy", "votes", "reasoned"):
        part = row.get("votes" if metric == "votes" else "greedy")
        if part and metric != "reasoned" and "values" in part:
            return np.array(part["values"], dtype=float)
        text = part and part["reasoned" if metric == "reasoned" else "solved"]
        return np.array([int(c) for c in text], dtype=float) if text else None
    if metric == "pairs":
        return np.array([float(row["practice"]["pairs"])]) if "practice" in row else None
    if ":" not in metric:
        value = row.get("figures", {}).get(metric)
        return None if value is None else np.array([float(value)])
    side, which = metric.split(":")
    curve = row.get("curves", {}).get(which)
    return np.array([curve[-1][f"{side}_logprob"] - curve[0][f"{side}_logprob"]]) if curve else None


def table(rows: Rows, contrast: Contrast) -> np.ndarray | None:
    """Values of a contrast `(seeds, problems)`, of the seeds that have all its terms; None if none has."""
    out = []
    for seed in sorted(set.intersection(*(set(rows.get(term.stage, {})) for term in contrast.terms))):
        parts = [(term.weight, figure(rows[term.stage][seed], term.metric)) for term in contrast.terms]
        if all(values is not None for _, values in parts):
            shared = min(len(values) for _, values in parts if values is not None)
            out.append(sum(weight * values[:shared] for weight, values in parts if values is not None))
    return np.array(out) if out else None


def decide(rows: Rows, contrast: Contrast) -> Decision | None:
    """The decision on a contrast; None where no seed has its figures. One seed decides nothing."""
    values = table(rows, contrast)
    if values is None:
        return None
    mean, seeds = float(values.mean()), len(values)
    known = contrast.predicted is not None and contrast.spread is not None
    needed = seeds_needed(contrast.predicted or 0.0, contrast.spread or 1.0) if known else None
    if seeds < 2:
        return Decision(mean, -np.inf, np.inf, seeds, needed, "unresolved")
    variance = float(np.var(values.mean(axis=1), ddof=1)) / seeds
    if values.shape[1] > 1:
        variance += float(np.var(values.mean(axis=0), ddof=1)) / values.shape[1]
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, seeds - 1)) * sqrt(variance)
    low, high = mean - half, mean + half
    verdict: Verdict = "shown" if low > 0 else "opposite" if high < 0 else "unresolved"
    return Decision(mean, low, high, seeds, needed, verdict)


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """A claim's verdict: shown if all its contrasts are, opposite if any is, else unresolved."""
    if "opposite" in verdicts:
        return "opposite"
    return "shown" if verdicts and all(verdict == "shown" for verdict in verdicts) else "unresolved"


def seeds_needed(effect: float, spread: float, *, most: int = 200) -> int | None:
    """Fewest seeds at which a two-sided paired t test finds `effect` with power 0.8; None where `most` are too few.

    Args:
        effect: the predicted difference.
        spread: standard deviation of the difference over seeds, > 0.
    """
    for count in range(2, most + 1):
        quantile = stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1)
        shift = abs(effect) / spread * sqrt(count)
        if float(stats.nct.sf(quantile, count - 1, shift)) >= POWER:
            return count
    return None
