"""Schooling: loss by hand, resume, and texts that follow the textbook rates."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import torch

from tutelage.primer.corpus import FORMAT_SHARES, document, documents, is_sound
from tutelage.primer.schooling import (
    IGNORED,
    SchoolingConfig,
    block_batches,
    build_model,
    completion_loss,
    encode,
    learning_rate_at,
    school,
)
from tutelage.primer.vocabulary import build_tokenizer
from tutelage.problems.primer import part_of, stories

TINY = SchoolingConfig(
    num_blocks=3,
    num_clean_blocks=1,
    batches_per_block=2,
    batch_size=4,
    warmup_steps=2,
    hidden_size=16,
    num_layers=1,
    num_heads=2,
    num_key_value_heads=1,
    intermediate_size=16,
)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def test_documents_depend_on_seed_and_block_only_and_stay_in_their_part() -> None:
    found = documents(3, 5, 60, False)
    assert found == documents(3, 5, 60, False)
    assert found != documents(3, 6, 60, False)
    for item in found:
        if item.form in ("cot", "pot", "mixed"):
            assert part_of(item.prompt.split("\n")[0]) == "schooling"


def test_every_format_occurs_and_steps_alone_are_more_than_half_of_the_tokens(tokenizer) -> None:
    found = documents(0, 0, 1500, False)
    tokens = dict.fromkeys(FORMAT_SHARES, 0)
    for item, (ids, _) in zip(found, encode(found, tokenizer), strict=True):
        tokens[item.form] += len(ids)
    assert all(tokens.values())
    assert tokens["cot"] / sum(tokens.values()) > 0.5


def test_solutions_follow_the_textbook_rates() -> None:
    # expected share of right solutions: mean over stories of the product of (1 - rate); n = 1500, so 3 sigma < 0.04
    rng = random.Random(0)
    expected = right = 0.0
    for _, story in zip(range(1500), stories("schooling", 9), strict=False):
        expected += math.prod(1 - step.cell.rate for step in story.steps)
        right += is_sound(document("cot", story, rng), story)
        assert is_sound(document("cot", story, rng, trust=0.0), story)
    assert abs(expected - right) / 1500 < 0.04


def test_tool_output_and_prompts_carry_no_loss(tokenizer) -> None:
    story = next(stories("schooling"))
    item = document("mixed", story, random.Random(0))
    ((ids, labels),) = encode([item], tokenizer)
    shown = tokenizer.decode([i for i, label in zip(ids, labels, strict=True) if label != IGNORED])
    assert shown == item.pieces[0][0] + item.pieces[2][0] + "<eos>"


def test_loss_is_the_mean_over_labelled_tokens_whatever_the_padding(tokenizer) -> None:
    model = build_model(TINY, tokenizer)
    rows = encode(documents(0, 0, 2, False), tokenizer)
    total = count = 0.0
    for ids, labels in rows:
        logits = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        for position in range(1, len(ids)):
            if labels[position] != IGNORED:
                total -= logits[position - 1, labels[position]].item()
                count += 1
    from tutelage.primer.schooling import _padded

    padded = _padded(rows, tokenizer.pad_token_id)
    assert completion_loss(model, *padded).item() == pytest.approx(total / count, rel=1e-5)


def test_learning_rate_warms_up_and_falls() -> None:
    config = SchoolingConfig()
    assert learning_rate_at(config, config.warmup_steps - 1) == pytest.approx(config.learning_rate)
    assert learning_rate_at(config, config.num_steps) == pytest.approx(config.final_learning_rate)


def test_a_stopped_schooling_goes_on_to_the_same_weights(tokenizer, tmp_path: Path) -> None:
    whole = school(TINY, tokenizer, tmp_path / "whole")
    school(TINY, tokenizer, tmp_path / "parts", stop_after=1)
    parts = school(TINY, tokenizer, tmp_path / "parts")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    with pytest.raises(ValueError, match="another schooling"):
        school(SchoolingConfig(seed=1), tokenizer, tmp_path / "parts")


def test_batches_hold_every_document_once(tokenizer) -> None:
    batches = block_batches(TINY, 0, tokenizer)
    assert [ids.shape[0] for ids, _ in batches] == [4, 4]
    assert all(ids.shape == labels.shape for ids, labels in batches)
