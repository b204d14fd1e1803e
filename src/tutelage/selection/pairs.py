"""Right and wrong samples of one problem as preference pairs.

Source: Iterative RPO, arXiv 2404.19733 §2 and footnote: both lists are walked in step, a list that runs out starts
again from its first element, and a problem with an empty list is skipped. With one winner and one loser that makes
K equal pairs, and with list lengths that share a factor it never visits all combinations; `order` and `dedupe` offer
other ways (ours). The paper does not say where in the list a gold solution goes: here it is last.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, NamedTuple, TypeVar

from tutelage.records import Completion, PreferencePair, Problem, digest, record_id, seed_of
from tutelage.selection.grouping import Judged, Sampled, Verdicts, gather, without_repeats

T = TypeVar("T")
W = TypeVar("W")
L = TypeVar("L")


@dataclass(frozen=True)
class PairSettings:
    """How pairs are made of samples; the defaults are the paper's for GSM8K, without its gold solutions.

    Args:
        count: pairs of each problem, K >= 1 (paper: GSM8K 10, ARC 20, MATH 15).
        order: `paper` walks winners and losers in step and starts a list again when it runs out; `product_shuffle`
            takes all combinations in random order, again from the first when they run out.
        dedupe: use each text once in each list and each combination once, even if that makes fewer pairs.
        gold: whether the data set's worked solution joins the winners; `when_missing` only where no sample is right.
        margin: least difference of scores in a pair, for graders whose scores are not just 0 and 1.
        limit: most pairs altogether (paper: about 60,000), a random subset of the same slots each time; None is all.
    """

    count: int = 10
    order: Literal["paper", "product_shuffle"] = "paper"
    dedupe: bool = False
    gold: Literal["never", "always", "when_missing"] = "never"
    margin: float = 0.0
    limit: int | None = None


class PairingResult(NamedTuple):
    """Pairs, and what became of the problems.

    `counts` has: problems, paired, all_right (no loser), all_wrong (no winner), no_margin (scores too close),
    identical (only equal texts), no_usable (no usable verdict), excluded_completions, identical_texts (pairs left
    out because both sides read the same), gold_chosen (pairs with a gold winner), pairs, over_limit.
    """

    pairs: list[PreferencePair]
    counts: dict[str, int]


@dataclass(frozen=True)
class Side:
    """One side of a pair: token ids, loss mask, the completion's id, and the text where there is one."""

    id: str
    token_ids: tuple[int, ...]
    mask: tuple[int, ...]
    text: str | None = None

    def reads_like(self, other: Side) -> bool:
        """Whether the two say the same, as tokens or as text."""
        return self.token_ids == other.token_ids or (self.text is not None and self.text == other.text)


def paper_pairs(winners: Sequence[W], losers: Sequence[L], count: int) -> list[tuple[W, L]]:
    """`count` pairs: element k mod n of each list, k = 0 .. count - 1; none if a list is empty.

    Source: arXiv 2404.19733 §2, footnote on making pairs.

    >>> paper_pairs("ab", "xyz", 4)
    [('a', 'x'), ('b', 'y'), ('a', 'z'), ('b', 'x')]
    """
    if not winners or not losers:
        return []
    return [(winners[k % len(winners)], losers[k % len(losers)]) for k in range(count)]


def shuffled_pairs(winners: Sequence[W], losers: Sequence[L], count: int, *, rng: random.Random) -> list[tuple[W, L]]:
    """`count` pairs: all combinations in random order, then again; none if a list is empty."""
    combinations = list(itertools.product(winners, losers))
    rng.shuffle(combinations)
    return list(itertools.islice(itertools.cycle(combinations), count))


def scored_pairs(
    items: Sequence[tuple[T, float]], count: int, *, margin: float = 0.0, rng: random.Random
) -> list[tuple[T, T]]:
    """At most `count` different (higher, lower) pairs, drawn at random from all that differ enough.

    Args:
        items: things with their scores.
        margin: least difference of the scores; equal scores never make a pair.
    """
    eligible = [
        (a, b)
        for (a, score), (b, other) in itertools.permutations(items, 2)
        if score > other and score - other >= margin
    ]
    return rng.sample(eligible, min(count, len(eligible)))


def cap(pairs: Sequence[PreferencePair], limit: int, *, seed: int) -> list[PreferencePair]:
    """At most `limit` pairs, a random subset in the given order.

    The choice hangs on the problem, the pair's number within it and the seed, so that it is held constant across
    iterations (arXiv 2404.19733 §4).
    """
    if len(pairs) <= limit:
        return list(pairs)
    numbers: Counter[str] = Counter()
    ranks = []
    for position, pair in enumerate(pairs):
        ranks.append((seed_of("cap", seed, pair.problem_id, numbers[pair.problem_id]), position))
        numbers[pair.problem_id] += 1
    kept = sorted(position for _, position in sorted(ranks)[:limit])
    return [pairs[position] for position in kept]


def make_pairs(
    problems: Iterable[Problem],
    completions: Iterable[Completion],
    verdicts: Verdicts,
    settings: PairSettings,
    *,
    seed: int = 0,
    iteration: int = 0,
    gold_ids: Callable[[Problem], Sequence[int] | None] | None = None,
) -> PairingResult:
    """Preference pairs of all problems.

    Winners are correct completions, losers the others with a usable verdict; where any score is neither 0 nor 1, the
    higher score wins instead, and gold solutions stay out. Both sides of a pair continue the same prompt ids: a
    problem's completions of different prompts are paired apart. A pair whose sides read the same is left out.

    Args:
        problems: in the order in which pairs are wanted.
        completions: whole solutions, independent of each other; any order.
        verdicts: by completion id, or just all of them.
        settings: how to pair.
        seed: of everything random here.
        iteration: which iteration of practice; written into the pairs.
        gold_ids: token ids of a problem's worked solution, end token included; asked only of problems that have one.
    """
    sampled = gather(problems, completions, verdicts)
    maker = _Maker(
        settings,
        stage=digest(["pairs", *(getattr(settings, f.name) for f in fields(settings)), seed, iteration]),
        seed=seed,
        iteration=iteration,
        gold_ids=gold_ids if settings.gold != "never" else None,
        by_score=any(j.score not in (0.0, 1.0) for s in sampled for j in s.judged),
    )
    pairs = [pair for entry in sampled for pair in maker.pairs_of(entry)]
    kept = pairs if settings.limit is None else cap(pairs, settings.limit, seed=seed)
    maker.counts.update(pairs=len(kept), over_limit=len(pairs) - len(kept))
    return PairingResult(kept, dict(maker.counts))


_COUNTS = (
    "problems", "paired", "all_right", "all_wrong", "no_margin", "identical", "no_usable", "excluded_completions",
    "identical_texts", "gold_chosen", "pairs", "over_limit",
)  # fmt: skip


@dataclass
class _Maker:
    """What pairing one problem after another needs, and the counts."""

    settings: PairSettings
    stage: str
    seed: int
    iteration: int
    gold_ids: Callable[[Problem], Sequence[int] | None] | None
    by_score: bool
    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(_COUNTS, 0)))

    def pairs_of(self, entry: Sampled) -> list[PreferencePair]:
        """The pairs of a problem, counted."""
        self.counts["problems"] += 1
        self.counts["excluded_completions"] += entry.num_excluded
        made = self._sides(entry)
        different = [(prompt, a, b) for prompt, a, b in made if not a.reads_like(b)]
        self.counts["identical_texts"] += len(made) - len(different)
        self.counts["gold_chosen"] += sum(a.id.startswith("gold:") for _, a, _ in different)
        self.counts[self._fate(entry, num_made=len(made), num_different=len(different))] += 1
        return [self._record(entry.problem.id, k, *sides) for k, sides in enumerate(different)]

    def _fate(self, entry: Sampled, *, num_made: int, num_different: int) -> str:
        if num_different:
            return "paired"
        if num_made:
            return "identical"
        if not entry.judged:
            return "no_usable"
        if self.by_score:
            return "no_margin"
        return "all_right" if all(j.is_correct for j in entry.judged) else "all_wrong"

    def _sides(self, entry: Sampled) -> list[tuple[tuple[int, ...], Side, Side]]:
        """Prompt, chosen and rejected of each pair, pairs that read the same still among them."""
        rng = random.Random(seed_of("pairs", self.seed, self.iteration, entry.problem.id))
        prompts: dict[tuple[str, tuple[int, ...]], list[Judged]] = {}
        for judged in entry.judged:
            key = (judged.completion.tokenizer_digest, judged.completion.prompt_ids)
            prompts.setdefault(key, []).append(judged)
        made = []
        for (_, prompt), group in prompts.items():
            pair_up = self._by_score if self.by_score else self._by_outcome
            made += [(prompt, a, b) for a, b in pair_up(group, entry.problem, rng)]
        return made

    def _by_score(self, group: list[Judged], problem: Problem, rng: random.Random) -> list[tuple[Side, Side]]:
        items = [(_side(j), j.score) for j in (without_repeats(group) if self.settings.dedupe else group)]
        return scored_pairs(items, self.settings.count, margin=self.settings.margin, rng=rng)

    def _by_outcome(self, group: list[Judged], problem: Problem, rng: random.Random) -> list[tuple[Side, Side]]:
        right, wrong = [j for j in group if j.is_correct], [j for j in group if not j.is_correct]
        if self.settings.dedupe:
            right, wrong = without_repeats(right), without_repeats(wrong)
        winners, losers = [_side(j) for j in right], [_side(j) for j in wrong]
        if self.gold_ids is not None and problem.solution and not (winners and self.settings.gold == "when_missing"):
            gold = tuple(self.gold_ids(problem) or ())
            if gold:
                winners.append(Side(f"gold:{problem.id}", gold, (1,) * len(gold)))
        if self.settings.order == "paper":
            found = paper_pairs(winners, losers, self.settings.count)
        else:
            found = shuffled_pairs(winners, losers, self.settings.count, rng=rng)
        return list(dict.fromkeys(found)) if self.settings.dedupe else found

    def _record(
        self, problem_id: str, number: int, prompt: tuple[int, ...], chosen: Side, rejected: Side
    ) -> PreferencePair:
        return PreferencePair(
            id=record_id(self.stage, problem_id, f"{chosen.id} {rejected.id}", number),
            problem_id=problem_id,
            prompt_ids=prompt,
            chosen_ids=chosen.token_ids,
            rejected_ids=rejected.token_ids,
            chosen_mask=chosen.mask,
            rejected_mask=rejected.mask,
            chosen_id=chosen.id,
            rejected_id=rejected.id,
            rule="score" if self.by_score else self.settings.order,
            iteration=self.iteration,
        )


def _side(judged: Judged) -> Side:
    completion = judged.completion
    return Side(completion.id, completion.token_ids, completion.loss_mask(), completion.text)
