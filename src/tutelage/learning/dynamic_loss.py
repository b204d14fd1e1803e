"""The dynamic loss: examples of hard problems weigh more, and in them the tokens of programs.

    w_example = 1 + gamma (1 - p)  if p < 0.5, else 1          p: share of right samples of its problem, now
    w_token   = w_program          inside a program, else 1
    batch     : all weights times one number, so that their mean under the loss's own average is 1

Source: the 360 talk (2024) says what is weighted (hard: fewer than half of ten paths are right; mainly the program
part) and gives no formula; the formula is ours.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

HARD = 0.5
"""Pass rate below which a problem is hard. Source: the 360 talk."""


def example_weight(pass_rate: float | None, gamma: float) -> float:
    """`1 + gamma (1 - p)` of a hard problem, 1 of any other and of one whose pass rate is not known.

    Args:
        pass_rate: p in [0, 1].
        gamma: >= 0; 0 weighs all examples alike.

    >>> [example_weight(p, 2.0) for p in (0.0, 0.25, 0.5, 1.0, None)]
    [3.0, 2.5, 1.0, 1.0, 1.0]
    """
    return 1 + gamma * (1 - pass_rate) if pass_rate is not None and pass_rate < HARD else 1.0


def program_weights(
    weights: Sequence[float], pieces: Sequence[str], spans: Sequence[tuple[int, int]], program_weight: float
) -> tuple[float, ...]:
    """Token weights with those of programs raised.

    Args:
        weights: one per token; 0 stays 0 (tool output, forced text).
        pieces: the text of each token; joined they are the text.
        spans: where programs stand in that text, in characters, half-open.
        program_weight: what tokens that overlap a program are multiplied by, >= 0.

    >>> program_weights([1, 1, 0, 1], ["so ", "pri", "nt", "(1)"], [(3, 11)], 2.0)
    (1.0, 2.0, 0.0, 2.0)
    """
    out, start = [], 0
    for weight, piece in zip(weights, pieces, strict=True):
        end = start + len(piece)
        is_inside = any(start < stop and end > begin for begin, stop in spans)
        out.append(float(weight) * (program_weight if is_inside else 1.0))
        start = end
    return tuple(out)


def mean_one(coefficients: Tensor, example_weights: Tensor, token_sums: Tensor) -> Tensor:
    """Coefficients c' with batch NLL `= -sum_i c'_i s_i`, where the mean weight of the batch is 1.

    Args:
        coefficients: `(B,)` those of the unweighted NLL (`losses.nll_coefficients`).
        example_weights: `(B,)` >= 0, not all 0.
        token_sums: `(B,)` sums of the token weights that are in the log-prob sums `s_i`.

    Returns:
        `(B,)` with `sum_i c'_i token_sums_i = 1`, as the unweighted ones have with numbers of tokens.
    """
    raised = coefficients * example_weights
    return raised / (raised * token_sums).sum()
