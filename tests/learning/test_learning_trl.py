"""The peer: TRL's DPOTrainer on the same model and the same token ids must see the same losses and weights.

TRL's `sft` term is one mean over all chosen tokens of the batch, our `nll_average="token"`. Its trainer wants text, so
its data set is replaced after construction by one that is already tokenized.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tutelage.learning.preference import PairBatch, PreferenceLearner

pytestmark = pytest.mark.slow
RATE, STEPS, BATCH = 1e-2, 3, 4


def trl_run(folder: Path, pairs, out: Path, *, loss_type, loss_weights):
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    arguments = trl.DPOConfig(
        output_dir=str(out),
        loss_type=loss_type,
        loss_weights=loss_weights,
        beta=0.1,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        weight_decay=0.0,
        max_grad_norm=1.0,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        disable_tqdm=True,
        seed=0,
    )
    text = {"prompt": "ab", "chosen": "cd", "rejected": "ef"}
    trainer = trl.DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder),
        ref_model=AutoModelForCausalLM.from_pretrained(folder),
        args=arguments,
        train_dataset=datasets.Dataset.from_list([text] * len(pairs)),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )
    rows = [
        {"prompt_ids": list(p.prompt_ids), "chosen_ids": list(p.chosen_ids), "rejected_ids": list(p.rejected_ids)}
        for p in pairs
    ]
    trainer.train_dataset = datasets.Dataset.from_list(rows)
    trainer._get_train_sampler = lambda *_: torch.utils.data.SequentialSampler(rows)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return losses, dict(trainer.model.named_parameters())


@pytest.mark.parametrize(
    ("loss", "loss_type", "loss_weights"),
    [("dpo_nll", ["sigmoid", "sft"], [1.0, 0.7]), ("dpo", ["sigmoid"], None), ("ipo", ["ipo"], None)],
)
def test_losses_and_weights_equal_trls(
    loss, loss_type, loss_weights, llama: Path, settings, make_pair, make_pairs, tmp_path: Path
):
    pairs = [make_pair(p.id, p.prompt_ids, p.chosen_ids, p.rejected_ids) for p in make_pairs(STEPS * BATCH, seed=3)]
    theirs, their_weights = trl_run(llama, pairs, tmp_path, loss_type=loss_type, loss_weights=loss_weights)
    learner = PreferenceLearner.open(
        llama, settings(learning_rate=RATE), loss=loss, beta=0.1, alpha=0.7, nll_average="token"
    )
    reference = learner.reference_logprobs(pairs)
    ours = []
    for step in range(STEPS):
        part = slice(step * BATCH, (step + 1) * BATCH)
        ours.append(learner.step(PairBatch(pairs[part], reference[part])).loss)
    assert len(theirs) == STEPS
    assert ours == pytest.approx(theirs, abs=1e-5, rel=1e-6)
    assert max(ours) - min(ours) > 0.005  # the comparison is of more than the first step
    for name, parameter in learner.model.named_parameters():
        assert torch.allclose(parameter, their_weights[name], atol=1e-4), name
