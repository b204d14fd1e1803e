"""Log-probs of whole trees of completions, every token computed once: the learners' packing as plain calls.

    tree = TreeBatch.from_completions(completions)
    found = tree.logprobs(model)                       # one forward pass over the different tokens
    sums = found.pairs([(0, 1), (0, 2)])               # (2, 2): chosen and rejected of each pair, with gradients

Completions need not say that they are a tree: what their tokens have in common is found. A chunk that continues another
has the other's tokens at the end of its prompt, several samples of a problem have its prompt, and unrelated completions
have nothing in common and are packed side by side. How it is computed is in `layout` and `tree_attention`; a model that
cannot be computed so (`LogProbScorer.can_share_beginnings`) is computed row by row, with the same result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tutelage.errors import DataError
from tutelage.learning.batches import Row, completion_row
from tutelage.learning.layout import (
    FORWARD_OVERHEAD,
    Line,
    Packing,
    longest_first,
    make_pass,
    paths_of,
    plan_groups,
    with_rows,
)
from tutelage.learning.log_probs import LogProbScorer
from tutelage.learning.reading import row_sums
from tutelage.records import Completion

WHOLE = 2**62
"""A token budget that nothing exceeds."""


@dataclass(frozen=True)
class TreeNode:
    """Tokens between two places where something begins, ends or branches.

    Args:
        parent: the node that comes before, None for a root.
        depth: tokens before this node, from the root.
        ids: its tokens.
        written: which of them a model wrote in at least one completion; the others (prompts, tool output) have no
            log-prob.
    """

    parent: int | None
    depth: int
    ids: tuple[int, ...]
    written: tuple[bool, ...]


@dataclass(frozen=True)
class TreeLogProbs:
    """Natural log-probs under one model, float32, with gradients where the model has them.

    Args:
        nodes: for every node one log-prob a token, given all before it; 0 for tokens that no model wrote.
        completions: `(N,)` sums over each completion's own tokens that the model wrote.
        packing: `tree`, or `plain` where the model had to be computed row by row.
        num_computed: tokens that the forward passes computed, padding included.
    """

    nodes: tuple[Tensor, ...]
    completions: Tensor
    packing: Packing
    num_computed: int

    def pairs(self, pairs: Sequence[tuple[int, int]]) -> Tensor:
        """`(P, 2)` sums of the completions of each pair, by their numbers."""
        return self.completions[torch.tensor(pairs, dtype=torch.long, device=self.completions.device)]


class TreeBatch:
    """Completions as trees of tokens.

    Args:
        rows: prompt, completion and loss mask of each.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = tuple(rows)
        whole = [Row((*row.ids, 0), len(row.ids), (1.0,)) for row in rows]  # rows whose last token counts too
        line = longest_first(with_rows((), whole)[0])
        places = {row.ids: path for row, path in paths_of(line)}
        self._paths = [places[row.ids] for row in whole]
        self._stretches, self.nodes = _nodes_of(self.rows, self._paths)

    @classmethod
    def from_completions(cls, completions: Sequence[Completion]) -> TreeBatch:
        """The trees that some completions make; their numbers from 0 are what pairs are named by.

        Args:
            completions: at least one, of one tokenizer; each with a prompt and a token that the model wrote.

        Raises:
            DataError: a completion cannot be scored, or there is none.
        """
        rows = [completion_row(completion) for completion in completions]
        empty = [c.id for c, row in zip(completions, rows, strict=True) if not row.num_scored]
        if empty or not rows:
            raise DataError(
                "a tree needs completions with tokens that a model wrote",
                seen=f"none in {', '.join(empty)}" if rows else "no completion",
                expected="at least one token of kind model in every completion",
            )
        return cls(rows)

    @property
    def num_tokens(self) -> int:
        """Tokens of all completions and their prompts, one by one."""
        return sum(len(row.ids) for row in self.rows)

    @property
    def num_different(self) -> int:
        """Tokens of the trees."""
        return sum(len(node.ids) for node in self.nodes)

    def logprobs(self, model: nn.Module | LogProbScorer) -> TreeLogProbs:
        """Score all trees at once.

        Args:
            model: a transformers causal language model in the mode it shall be in, or a scorer made of it (which saves
                finding out again how the model is to be computed). The backward pass of a model that recomputes its
                activations must lie inside `tree_attention(model)`.
        """
        scorer = model if isinstance(model, LogProbScorer) else LogProbScorer(model)
        items = [(row,) for row in self.rows]
        overhead = FORWARD_OVERHEAD.get(scorer.device.type, 64)
        cost = 0.0 if scorer.can_share_beginnings else None
        groups = plan_groups(items, token_budget=WHOLE, overhead=overhead, attention_cost=cost)
        planned = [lines for group in groups for lines in group.passes]
        passes = [make_pass(lines).to(scorer.device) for lines in planned]
        values = scorer.token_logprobs(*passes)
        computed = [row for lines in planned for line in lines for row in line]
        order = {row: place for place, row in enumerate(computed)}
        sums = row_sums(values, passes)[torch.tensor([order[row] for row in self.rows], device=values.device)]
        return TreeLogProbs(
            self._by_node(values, computed), sums, groups[0].packing, sum(group.num_padded for group in groups)
        )

    def parts(self, pairs: Sequence[tuple[int, int]], token_budget: int) -> Iterator[tuple[TreeBatch, list[int]]]:
        """Cut the trees at nodes, so that one part at a time is gone forward and back through; gradients add up.

        Args:
            pairs: two numbers of completions each; a pair stays in one part.
            token_budget: most tokens of a part, unless a single pair has more.

        Yields:
            A part, and the pairs in it; pair number i of these has the part's completions 2 i and 2 i + 1.
        """
        items = [(self.rows[a], self.rows[b]) for a, b in pairs]
        for group in plan_groups(items, token_budget=token_budget, overhead=token_budget, attention_cost=0.0):
            yield TreeBatch([row for item in group.items for row in items[item]]), list(group.items)

    def _by_node(self, values: Tensor, computed: Line | list[Row]) -> tuple[Tensor, ...]:
        """From one value per scored token of the rows, row by row, to one per token of each node."""
        paths = dict(zip(self.rows, self._paths, strict=True))
        places = np.concatenate([paths[row][row.start + np.flatnonzero(row.weights)] for row in computed])
        different, first = np.unique(places, return_index=True)
        flat = values.new_zeros(self.num_different).index_copy(
            0,
            torch.from_numpy(different).to(values.device),
            values.index_select(0, torch.from_numpy(first).to(values.device)),
        )
        return tuple(flat[a:b] for a, b in self._stretches)


def _nodes_of(
    rows: Sequence[Row], paths: Sequence[NDArray[np.int64]]
) -> tuple[list[tuple[int, int]], tuple[TreeNode, ...]]:
    """Where each node lies on the line, and the nodes.

    A token ends a node where a row ends, a completion begins after it, or several tokens follow.
    """
    size = max(int(path[-1]) for path in paths) + 1
    ids, depths = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    before = np.full(size, -1)
    written, is_last = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    for row, path in zip(rows, paths, strict=True):
        ids[path], depths[path] = row.ids, np.arange(len(path))
        before[path[1:]] = path[:-1]
        written[path[row.start + np.flatnonzero(row.weights)]] = True
        is_last[[path[row.start - 1], path[-1]]] = True
    is_last |= np.bincount(before[before >= 0], minlength=size) != 1
    starts = np.flatnonzero((before < 0) | is_last[before])
    stretches = [(int(a), int(b)) for a, b in zip(starts, [*starts[1:], size], strict=True)]
    number_of = {b - 1: number for number, (_, b) in enumerate(stretches)}
    nodes = tuple(
        TreeNode(number_of.get(int(before[a])), int(depths[a]), tuple(ids[a:b].tolist()), tuple(written[a:b].tolist()))
        for a, b in stretches
    )
    return stretches, nodes
