"""Schooling: loss by hand, resume, and texts that follow the textbook rates."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import torch

from tutelage.primer.corpus import FORMAT_SHARES, document, documents
from tutelage.primer.schooling import (
    IGNORED,
    SchoolingConfig,
    block_batches,
    build_model,
    completion_loss,
    encode,
    learning_rate_at,
    pad,
    school,
)
from tutelage.primer.vocabulary import build_tokenizer
from tutelage.problems.primer import Story, annotate, part_of, stories

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
    for item, row in zip(found, encode(found, tokenizer), strict=True):
        tokens[item.form] += len(row.ids)
    assert all(tokens.values())
    assert tokens["cot"] / sum(tokens.values()) > 0.5


def test_solutions_follow_the_textbook_rates() -> None:
    # expected share of right solutions: mean over stories of the product of (1 - rate); n = 1500, so 3 sigma < 0.04
    rng = random.Random(0)
    expected = right = 0.0
    for _, story in zip(range(1500), stories("schooling", 9), strict=False):
        expected += math.prod(1 - step.cell.rate for step in story.steps)
        right += annotate(story, document("cot", story, rng).completion).final_is_correct
        assert annotate(story, document("cot", story, rng, trust=0.0).completion).final_is_correct
    assert abs(expected - right) / 1500 < 0.04


def test_tool_output_and_prompts_carry_no_loss(tokenizer) -> None:
    story = next(stories("schooling"))
    item = document("mixed", story, random.Random(0))
    (row,) = encode([item], tokenizer)
    shown = tokenizer.decode([i for i, label in zip(row.ids, row.labels, strict=True) if label != IGNORED])
    assert shown == item.pieces[0].text + item.pieces[2].text + "<eos>"


def test_loss_is_the_mean_over_labels_and_textbooks_whatever_the_padding(tokenizer) -> None:
    model = build_model(TINY, tokenizer)
    rows = encode(documents(0, 0, 4, False), tokenizer)
    assert any(share < 1 for row in rows for share in row.shares)
    total = count = 0.0
    for row in rows:
        logits = model(input_ids=torch.tensor([row.ids])).logits[0].log_softmax(-1)
        for position in range(1, len(row.ids)):
            if row.labels[position] != IGNORED:
                share, other = row.shares[position], row.others[position]
                total -= share * logits[position - 1, row.labels[position]].item()
                total -= (1 - share) * logits[position - 1, other].item() if share < 1 else 0.0
                count += 1
    assert completion_loss(model, pad(rows, tokenizer.pad_token_id)).item() == pytest.approx(total / count, rel=1e-5)


def test_a_step_names_what_the_other_textbooks_write(tokenizer) -> None:
    story = Story.from_json({"start": 40, "steps": [["lose/0/low/deep", 7]], "people": ["ann", "bob"], "thing": "pens"})
    cell = story.steps[0].cell
    item = document("cot", story, random.Random(0))
    assert {item.pieces[0].text, item.pieces[0].other} == {"40-7=33\n", f"40{cell.wrong_form[1]}7=47\n"}
    share = item.pieces[0].share if item.pieces[0].text == "40-7=33\n" else 1 - item.pieces[0].share
    assert share == pytest.approx(1 - cell.rate)
    (row,) = encode([item], tokenizer)
    (fork,) = [i for i, other in enumerate(row.others) if other != IGNORED]
    assert {tokenizer.decode([row.ids[fork]]), tokenizer.decode([row.others[fork]])} == {"-", "+"}


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
    assert [batch.ids.shape[0] for batch in batches] == [4, 4]
    assert all(batch.ids.shape == batch.labels.shape == batch.shares.shape for batch in batches)
