"""Drawing one token: the distribution, temperature, top-k, top-p and log-probs, against slow references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from tutelage.records import SamplingParams
from tutelage.sampling.draw import Filters, draw, invert, uniforms


def slow_kept(logits: list[float], params: SamplingParams) -> dict[int, float]:
    """Token -> probability after temperature, top-k and top-p, by the definition."""
    weights = [math.exp(x / params.temperature) for x in logits]
    probs = {i: w / sum(weights) for i, w in enumerate(weights)}
    ranked = sorted(probs, key=lambda i: -probs[i])
    if params.top_k:
        ranked = ranked[: params.top_k]
    total, kept, mass = sum(probs[i] for i in ranked), [], 0.0
    for token in ranked:
        if mass >= params.top_p * total:
            break
        kept.append(token)
        mass += probs[token]
    return {i: probs[i] / mass for i in kept}


PARAMS = [
    SamplingParams(),
    SamplingParams(temperature=0.5),
    SamplingParams(temperature=1.7, top_k=4),
    SamplingParams(top_p=0.8),
    SamplingParams(temperature=0.7, top_k=7, top_p=0.6),
    SamplingParams(top_p=0.05),
    SamplingParams(top_k=1),
]


@pytest.mark.parametrize("params", PARAMS, ids=str)
def test_frequencies_follow_the_distribution(params: SamplingParams) -> None:
    logits = torch.randn(12, generator=torch.Generator().manual_seed(3)) * 2
    expected = slow_kept(logits.tolist(), params)
    count = 20_000
    uniform = torch.from_numpy(uniforms(7, count))
    drawn = draw(logits.expand(count, -1), Filters.of([params] * count), uniform)
    seen = torch.bincount(drawn.tokens, minlength=12).numpy()
    assert set(np.nonzero(seen)[0]) <= set(expected)
    tokens = sorted(expected)
    if len(tokens) > 1:
        found = stats.chisquare(seen[tokens], [expected[t] * count for t in tokens])
        assert found.pvalue > 1e-3
    reference = torch.log_softmax(logits, -1)[drawn.tokens]
    assert torch.allclose(drawn.logprobs, reference, atol=1e-5)


def test_a_wide_nucleus_is_sorted_whole() -> None:
    logits = torch.zeros(1, 3000)
    logits[0, 2999] = 3.0
    count = 3000
    params = [SamplingParams(top_p=0.9)] * count
    drawn = draw(logits.expand(count, -1), Filters.of(params), torch.from_numpy(uniforms(1, count)))
    assert len(drawn.tokens.unique()) > 1500
    share = float((drawn.tokens == 2999).float().mean())
    assert share == pytest.approx(math.exp(3) / (math.exp(3) + 2999) / 0.9, abs=0.006)


def test_rows_do_not_touch_each_other() -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(len(PARAMS) + 1, 300, generator=generator)
    params = [*PARAMS, SamplingParams(temperature=0.0)]
    uniform = torch.from_numpy(uniforms(2, len(params)))
    together = draw(logits, Filters.of(params), uniform)
    for row, param in enumerate(params):
        alone = draw(logits[row : row + 1], Filters.of([param]), uniform[row : row + 1])
        assert torch.equal(alone.tokens, together.tokens[row : row + 1])
        assert torch.equal(alone.logprobs, together.logprobs[row : row + 1])


def test_greedy_takes_the_likeliest_whatever_the_uniform() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0]]).expand(3, -1)
    drawn = draw(
        logits, Filters.of([SamplingParams(temperature=0, top_p=0.5)] * 3), torch.tensor([0.0, 0.5, 0.999]).double()
    )
    assert drawn.tokens.tolist() == [1, 1, 1]
    assert drawn.logprobs[0].item() == pytest.approx(2 - math.log(1 + math.e**2 + math.e), abs=1e-6)


def test_a_token_of_probability_zero_is_never_drawn() -> None:
    weights = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]]).expand(3, -1)
    assert invert(weights, torch.tensor([0.0, 0.5, 1.0 - 2.0**-40], dtype=torch.float64)).tolist() == [1, 3, 3]


def test_uniform_number_t_does_not_depend_on_how_many_are_asked_for() -> None:
    long = uniforms(123456789, 1000)
    assert np.array_equal(uniforms(123456789, 10), long[:10])
    assert not np.array_equal(uniforms(123456790, 10), long[:10])
    assert long.min() >= 0 and long.max() < 1
    assert stats.kstest(long, "uniform").pvalue > 0.01
