"""Training on trees: the loss and gradients of rows apart, whatever the model and the budget; and the traps."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import create_mask, flex_attention
from transformers import AutoModelForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tutelage.errors import DataError
from tutelage.learning import tree_attention
from tutelage.learning.batches import Row, pair_rows
from tutelage.learning.layout import longest_first, make_pass, with_rows
from tutelage.learning.log_probs import LogProbScorer, sequence_logprobs
from tutelage.learning.preference import PairBatch, PreferenceLearner
from tutelage.learning.reading import run_pass
from tutelage.learning.sft import SFTLearner
from tutelage.learning.tree import TreeBatch
from tutelage.primer import model_path
from tutelage.records import Completion, Example, Policy, PreferencePair, SamplingParams

MODELS = ("llama", "qwen2", "phi3", "primer")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "trees.md"


@pytest.fixture
def folder_of(tiny_model_dir: Callable[..., Path]) -> Callable[[str], Path]:
    return lambda kind: model_path() if kind == "primer" else tiny_model_dir(kind)


@pytest.fixture
def tree_pairs(make_pair) -> Callable[..., list[PreferencePair]]:
    """A function (trees, nodes) -> pairs at every node of chains: next chunks, and one of whole continuations."""

    def make(trees: int = 2, nodes: int = 4, seed: int = 0) -> list[PreferencePair]:
        rng = np.random.default_rng(seed)

        def ids(count: int) -> tuple[int, ...]:
            return tuple(int(i) for i in rng.integers(10, 100, count))

        pairs = []
        for tree in range(trees):
            prompt = path = ids(9)
            for node in range(nodes):
                chosen, rejected = ids(6), ids(int(rng.integers(1, 8)))
                pairs.append(make_pair(f"t{tree}n{node}", path, chosen, rejected))
                path += chosen
            pairs.append(make_pair(f"t{tree}w", prompt, path[9:], (*path[9:15], *ids(8))))
        return pairs

    return make


def gradients_of(learner, pairs, reference) -> tuple[object, dict[str, torch.Tensor]]:
    """The metrics of a step that keeps the gradients, and the gradients."""
    learner.policy.optimizer.update = lambda rate: 0.0
    metrics = learner.step(PairBatch(pairs, reference))
    return metrics, {name: p.grad.clone() for name, p in learner.policy.parameters.items()}


def without_trees(learner):
    learner.policy.attention_cost = None
    return learner


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    scale = max(1.0, *(float(g.abs().max()) for g in expected.values()))
    for name, gradient in expected.items():
        assert (found[name] - gradient).abs().max() < 1e-5 * scale, name


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("kind", MODELS)
def test_loss_and_gradients_equal_those_of_rows_apart(kind: str, rank: int, folder_of, settings, tree_pairs):
    pairs = tree_pairs()
    chosen = settings(lora_rank=rank, max_grad_norm=0)
    for loss in ("dpo", "dpo_nll", "sft"):
        found = []
        for adjust in (lambda learner: learner, without_trees):
            learner = adjust(PreferenceLearner.open(folder_of(kind), chosen, loss=loss, device="cpu"))
            if rank:  # a fresh adapter changes nothing, and half of its gradients are 0
                for name, weights in learner.policy.parameters.items():
                    torch.manual_seed(len(name))
                    weights.data += 0.02 * torch.randn_like(weights)
            under = "base" if rank else "start"
            reference = learner.reference_logprobs(pairs, under=under)
            assert np.isfinite(reference).all()
            found.append((reference, *gradients_of(learner, pairs, [(a + 0.1, b - 0.2) for a, b in reference])))
        (ours, metrics, gradients), (plain, expected, wanted) = found
        assert (metrics.packing, expected.packing) == ("tree", "plain")
        assert metrics.num_padded < 0.6 * expected.num_padded
        assert np.allclose(ours, plain, atol=2e-4)  # sums of 20 to 150 log-probs
        assert metrics.loss == pytest.approx(expected.loss, abs=1e-5 * max(1, abs(expected.loss)))
        assert_same(gradients, wanted)


@pytest.mark.parametrize("kind", ["llama", "primer"])
def test_supervised_examples_share_beginnings_too(kind: str, folder_of, settings, tree_pairs):
    examples = [
        Example(p.id, p.problem_id, p.prompt_ids, p.chosen_ids, (1.0,) * len(p.chosen_ids), "t") for p in tree_pairs()
    ]
    found = []
    for adjust in (lambda learner: learner, without_trees):
        learner = adjust(SFTLearner.open(folder_of(kind), settings(max_grad_norm=0), device="cpu"))
        learner.policy.optimizer.update = lambda rate: 0.0
        metrics = learner.step(examples)
        found.append((metrics, {name: p.grad.clone() for name, p in learner.policy.parameters.items()}))
    (metrics, gradients), (expected, wanted) = found
    assert (metrics.packing, expected.packing) == ("tree", "plain")
    assert metrics.loss == pytest.approx(expected.loss, rel=1e-6)
    assert_same(gradients, wanted)


@pytest.mark.parametrize("budget", [50, 40, 1])
def test_trees_above_the_budget_are_cut_with_equal_gradients(budget: int, llama: Path, settings, tree_pairs):
    pairs = tree_pairs(trees=2, nodes=5)
    found = []
    for size in (10**6, budget):
        learner = PreferenceLearner.open(llama, settings(max_grad_norm=0, token_budget=size))
        learner.policy.attention_cost = 0.0
        reference = learner.reference_logprobs(pairs)
        groups = learner.policy.plan([pair_rows(pair) for pair in pairs])
        assert all(group.num_padded <= size or len(group.items) == 1 for group in groups)
        found.append((len(groups), reference, *gradients_of(learner, pairs, [(a, b - 1) for a, b in reference])))
    (one, whole, metrics, gradients), (many, cut, expected, wanted) = found
    assert one == 1 and many >= 2 and metrics.packing == expected.packing == "tree"
    assert metrics.num_padded < expected.num_padded  # only what lies above a cut is computed again
    assert np.allclose(whole, cut, atol=1e-4) and metrics.loss == pytest.approx(expected.loss, rel=1e-5)
    assert_same(gradients, wanted)


def test_recomputed_activations_give_the_same_gradients(llama: Path, settings, tree_pairs):
    pairs, found = tree_pairs(), []
    for recompute in (False, True):
        learner = PreferenceLearner.open(llama, settings(max_grad_norm=0, gradient_checkpointing=recompute))
        metrics, gradients = gradients_of(learner, pairs, learner.reference_logprobs(pairs))
        assert metrics.packing == "tree"
        found.append(gradients)
    assert_same(*found)


def test_rows_that_have_nothing_in_common_are_packed_plainly(llama: Path, settings, make_pair):
    pairs = [make_pair(str(k), (k, 11), (12,) * 30, (k, 13) * 15) for k in range(20, 24)]
    items = [(row,) for pair in pairs for row in pair_rows(pair)][::2]  # one row of every prompt
    learner = PreferenceLearner.open(llama, settings())
    assert {group.packing for group in learner.policy.plan(items)} == {"plain"}


# The attention itself


def long_tree() -> object:
    """A pass of more than one block of queries: a trunk with branches, and a second tree after it."""
    rng = np.random.default_rng(4)
    trunk = tuple(int(i) for i in rng.integers(3, 90, 150))
    rows = [Row(trunk, 10, (1.0,) * 140)]
    for place in (20, 60, 61, 120, 149):
        rows.append(Row((*trunk[:place], 1, *(int(i) for i in rng.integers(3, 90, 30))), place, (1.0,) * 31))
    rows.append(Row((2, *trunk[:40]), 1, (1.0,) * 40))
    return make_pass([longest_first(with_rows((), rows)[0])])


def dense(ends: torch.Tensor) -> torch.Tensor:
    place = torch.arange(len(ends))
    return (place[None] <= place[:, None]) & (place[:, None] < ends[None])


@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_blocks_equal_sdpa_with_an_explicit_mask(key_heads: int, monkeypatch: pytest.MonkeyPatch):
    ends, heads, width = long_tree().ends, 4, 8
    length = ends.shape[1]
    assert length > 2 * tree_attention.BLOCK
    torch.manual_seed(0)
    inputs = [torch.randn(1, count, length, width, requires_grad=True) for count in (heads, key_heads, key_heads)]
    mix = torch.randn(1, heads, length, width)
    repeated = [inputs[0], *(x.repeat_interleave(heads // key_heads, 1) for x in inputs[1:])]
    expected = torch.nn.functional.scaled_dot_product_attention(*repeated, attn_mask=dense(ends[0]), scale=0.3)
    wanted = torch.autograd.grad((expected * mix).sum(), inputs)
    for kept in (512, 0):  # attention weights kept for the backward pass, and made again
        monkeypatch.setattr(tree_attention, "KEPT_KEYS", kept)
        mask = tree_attention.mask_for(ends)
        found, _ = tree_attention.attend_to_beginnings(torch.nn.Module(), *inputs, mask, scaling=0.3)
        assert torch.allclose(found.transpose(1, 2), expected, atol=1e-6)
        for a, b in zip(torch.autograd.grad((found.transpose(1, 2) * mix).sum(), inputs), wanted, strict=True):
            assert torch.allclose(a, b, atol=1e-5)


def test_dropped_attention_weights_have_the_gradients_of_what_was_computed():
    mask = tree_attention.mask_for(long_tree().ends)
    torch.manual_seed(1)
    inputs = [torch.randn(1, 2, mask.shape[-1], 8, requires_grad=True) for _ in range(3)]
    shift = [torch.randn_like(x) for x in inputs]

    def at(step: float) -> torch.Tensor:
        torch.manual_seed(2)
        moved = [x + step * s for x, s in zip(inputs, shift, strict=True)]
        return tree_attention.attend_to_beginnings(torch.nn.Module(), *moved, mask, dropout=0.4)[0].square().sum()

    slope = sum((g * s).sum() for g, s in zip(torch.autograd.grad(at(0.0), inputs), shift, strict=True))
    assert float(slope) == pytest.approx(float(at(1e-3) - at(-1e-3)) / 2e-3, rel=5e-3)


def test_the_rule_for_flex_attention_is_the_same_mask():
    ends = long_tree().ends[0]
    size = len(ends)
    rule = tree_attention.sees(ends)
    assert torch.equal(create_mask(rule, None, None, size, size, device="cpu")[0, 0], dense(ends))
    block = tree_attention.flex_mask(ends)
    assert block.shape == (1, 1, size, size) and torch.equal(
        create_mask(block.mask_mod, None, None, size, size, device="cpu")[0, 0], dense(ends)
    )
    query, key, value = (torch.randn(1, 2, size, 16) for _ in range(3))
    with torch.no_grad():
        found = flex_attention(query, key, value, block_mask=block)  # not compiled: the plain form of the same thing
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=dense(ends))
    assert torch.allclose(found, expected, atol=1e-5)


# Traps


def test_no_other_attention_takes_the_mask_for_its_own(llama: Path):
    batch = long_tree()
    mask = tree_attention.mask_for(batch.ends)
    model = AutoModelForCausalLM.from_pretrained(llama)
    inputs = {"input_ids": batch.input_ids, "position_ids": batch.position_ids, "attention_mask": mask}
    with pytest.raises(RuntimeError):
        model(**inputs)
    boolean = {**inputs, "attention_mask": dense(batch.ends[0])[None, None]}
    expected = model(**boolean).logits
    assert torch.allclose(run_pass(model, batch).logits, expected, atol=1e-5)
    model.set_attn_implementation("eager")  # adds a bool mask to the scores: silently wrong, hence never used
    assert not torch.allclose(model(**boolean).logits, expected, atol=1e-3)
    assert not LogProbScorer(model).can_share_beginnings


def test_positions_are_depths_and_a_branch_begins_after_its_parent(llama: Path):
    batch = long_tree()
    model = AutoModelForCausalLM.from_pretrained(llama)
    right = run_pass(model, batch).logits
    with tree_attention.tree_attention(model):
        mask = tree_attention.mask_for(batch.ends)
        packed = model(input_ids=batch.input_ids, attention_mask=mask).logits  # positions 0, 1, 2, ... by default
    assert not torch.allclose(packed, right, atol=1e-3)
    row = Row((3, 4, 5, 6, 7), 3, (1.0, 1.0))
    other = Row((3, 4, 5, 8, 9), 3, (1.0, 1.0))
    scorer = LogProbScorer(model)
    values = scorer.token_logprobs(make_pass([(row, other)]))
    apart = torch.cat([scorer.token_logprobs(make_pass([(one,)])) for one in (row, other)])
    assert torch.allclose(values, apart, atol=1e-5)


def test_an_attention_that_ignores_the_tree_is_found_out(llama: Path, monkeypatch: pytest.MonkeyPatch):
    model = AutoModelForCausalLM.from_pretrained(llama)
    assert LogProbScorer(model).can_share_beginnings

    def causal(module, query, key, value, attention_mask, **kwargs):
        return tree_attention.sdpa_attention_forward(module, query, key, value, None, **kwargs)

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, tree_attention.NAME, causal)
    assert not LogProbScorer(model).can_share_beginnings


def test_the_models_own_attention_is_back_afterwards(llama: Path):
    model = AutoModelForCausalLM.from_pretrained(llama)
    with pytest.raises(ZeroDivisionError), tree_attention.tree_attention(model):
        assert model.config._attn_implementation == tree_attention.NAME
        raise ZeroDivisionError
    assert model.config._attn_implementation == "sdpa"


# Trees of completions


def completion(name: str, prompt: tuple[int, ...], ids: tuple[int, ...], **more) -> Completion:
    return Completion(
        id=name, problem_id="p", role="chunk", policy=Policy("m"), tokenizer_digest="", prompt_ids=prompt,
        token_ids=ids, text="", segments=more.pop("segments", ((0, len(ids), "model"),)),
        token_logprobs=(0.0,) * len(ids), finish_reason="stop", params=SamplingParams(), seed=0, **more,
    )  # fmt: skip


def small_tree() -> list[Completion]:
    """Prompt 20 21 22; chunks 30 31 and 40; after 30 31 the chunks 50 51 52 and 50 60, the 51 put there by a tool."""
    prompt = (20, 21, 22)
    return [
        completion("a", prompt, (30, 31)),
        completion("b", prompt, (40,)),
        completion("aa", (*prompt, 30, 31), (50, 51, 52), segments=((0, 1, "model"), (1, 2, "tool"), (2, 3, "model"))),
        completion("ab", (*prompt, 30, 31), (50, 60)),
    ]


def test_nodes_of_a_tree_by_hand():
    tree = TreeBatch.from_completions(small_tree())
    by_ids = {node.ids: node for node in tree.nodes}
    assert set(by_ids) == {(20, 21, 22), (30, 31), (40,), (50,), (51, 52), (60,)}
    chain = [(51, 52), (50,), (30, 31), (20, 21, 22)]
    for child, parent in itertools.pairwise(chain):
        assert tree.nodes[by_ids[child].parent] == by_ids[parent]
    assert by_ids[(20, 21, 22)].parent is None and tree.nodes[by_ids[(40,)].parent].ids == (20, 21, 22)
    assert by_ids[(60,)].depth == 6 and by_ids[(51, 52)].written == (False, True)
    assert not any(by_ids[(20, 21, 22)].written)
    assert tree.num_different == 10 and tree.num_tokens == 5 + 4 + 8 + 7


@pytest.mark.parametrize("kind", ["llama", "qwen2", "phi3"])
def test_a_tree_has_the_log_probs_of_its_completions(kind: str, tiny_model_dir):
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir(kind))
    completions = small_tree()
    tree = TreeBatch.from_completions(completions)
    found = tree.logprobs(model)
    assert found.packing == "tree" and found.num_computed == 7  # 31, 40, 52 and 60 tell of nothing; 31 has children
    slow = sequence_logprobs(model, [c.prompt_ids for c in completions], [c.token_ids for c in completions])
    masks = [c.loss_mask() for c in completions]
    sums = [sum(v for v, m in zip(row, mask, strict=True) if m) for row, mask in zip(slow, masks, strict=True)]
    assert found.completions.tolist() == pytest.approx(sums, abs=1e-4)
    assert found.pairs([(0, 1), (3, 2)]).tolist() == [pytest.approx(p, abs=1e-4) for p in (sums[:2], sums[:1:-1])]
    values = {node.ids: value.tolist() for node, value in zip(tree.nodes, found.nodes, strict=True)}
    assert values[(20, 21, 22)] == [0, 0, 0] and values[(51, 52)] == pytest.approx([0, slow[2][2]], abs=1e-4)
    assert values[(30, 31)] == pytest.approx(slow[0], abs=1e-4) and values[(60,)] == pytest.approx(
        slow[3][1:], abs=1e-4
    )


def test_parts_of_a_tree_add_up_to_its_gradients(llama: Path, tree_pairs):
    model = AutoModelForCausalLM.from_pretrained(llama)
    scorer = LogProbScorer(model)
    completions, pairs = [], []
    for pair in tree_pairs(trees=1, nodes=5):
        pairs.append((len(completions), len(completions) + 1))
        completions += [completion(f"{pair.id}{s}", pair.prompt_ids, ids) for s, ids in
                        (("w", pair.chosen_ids), ("l", pair.rejected_ids))]  # fmt: skip
    tree = TreeBatch.from_completions(completions)

    def loss(sums: torch.Tensor) -> torch.Tensor:
        return -torch.nn.functional.logsigmoid(sums[:, 0] - sums[:, 1]).sum()

    loss(tree.logprobs(scorer).pairs(pairs)).backward()
    whole = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    seen = []
    for part, numbers in tree.parts(pairs, token_budget=45):
        found = part.logprobs(scorer)
        assert found.num_computed <= 45 or len(numbers) == 1
        loss(found.completions.view(-1, 2)).backward()
        seen += numbers
    assert sorted(seen) == list(range(len(pairs))) and len(seen) > 1
    assert_same({name: p.grad for name, p in model.named_parameters()}, whole)


def test_completions_without_a_written_token_are_refused():
    with pytest.raises(DataError, match="a model wrote"):
        TreeBatch.from_completions([completion("x", (1, 2), (3,), segments=((0, 1, "tool"),))])
    with pytest.raises(DataError, match="no completion"):
        TreeBatch.from_completions([])


def test_the_guides_example_runs():
    section = DOCS.read_text(encoding="utf-8").split("## Train on trees")[1]
    (example,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    assert torch.isfinite(names["loss"]) and names["found"].packing == "tree"
