"""Prompts and targets with real tokenizer classes and hand-made ones; token boundaries are exact."""

from __future__ import annotations

from typing import Any

import pytest

from tutelage.errors import ModelError
from tutelage.records import Choices, Problem
from tutelage.text.extraction import extract
from tutelage.text.prompts import INSTRUCTIONS, Prompter, task_of, tokenizer_digest

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BOS_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
)
NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{{ m['content'] }}<|im_end|>{% endfor %}"
)
GSM = Problem("g", "How many?", "72", solution="48/2 = <<48/2=24>>24\n48+24 = <<48+24=72>>72", source="gsm8k")
MATH = Problem("m", "Find $x$.", r"\frac{1}{2}", "latex", solution="We get it.", source="math")
ARC = Problem("a", "Which?", "B", "choice", choices=Choices(("A", "B"), ("ice", "water")), source="arc")


def make_tokenizer(template: str | None = None, *, bos: bool = False) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = ["<pad>", "<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>"]
    vocab = {token: i for i, token in enumerate([*specials, *(chr(c) for c in range(32, 127)), "\n"])}
    inner = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    inner.decoder = decoders.Fuse()
    if bos:
        inner.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", vocab["<s>"]), ("</s>", vocab["</s>"])]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
        additional_special_tokens=specials[4:], clean_up_tokenization_spaces=False,
    )  # fmt: skip
    tokenizer.chat_template = template
    return tokenizer


def test_plain_prompt_and_target_are_one_text() -> None:
    tokenizer = make_tokenizer()
    prompter = Prompter.create(tokenizer, task="gsm8k")
    prompt = prompter.render(GSM)
    assert prompter.form == "plain"
    assert prompt.messages is None
    assert prompt.text == f"{INSTRUCTIONS['gsm8k']}\n\nQuestion: How many?\nSolution:"
    assert tokenizer.decode(list(prompt.ids)) == prompt.text
    target = prompter.target_ids(GSM)
    assert tokenizer.decode(list(target)) == " 48/2 = 24\n48+24 = 72\nFinal answer: 72</s>"
    assert prompter.stop_token_ids == (tokenizer.eos_token_id,)


def test_the_beginning_token_comes_once_and_the_end_token_never() -> None:
    tokenizer = make_tokenizer(bos=True)
    ids = Prompter.create(tokenizer).render(GSM).ids
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.eos_token_id not in ids
    chat = Prompter.create(make_tokenizer(BOS_TEMPLATE, bos=True)).render(GSM).ids
    assert chat.count(tokenizer.bos_token_id) == 1
    assert tokenizer.eos_token_id not in chat


def test_chat_prompt_ends_where_the_assistant_begins_and_stops_at_the_turns_end() -> None:
    tokenizer = make_tokenizer(CHATML)
    prompter = Prompter.create(tokenizer, task="gsm8k", system_prompt="Be brief.", shots=[GSM])
    prompt = prompter.render(Problem("q", "Next?", "1"))
    assert prompt.text.endswith("Next?<|im_end|>\n<|im_start|>assistant\n")
    assert [message["role"] for message in prompt.messages or ()] == ["system", "user", "assistant", "user"]
    assert (prompt.messages or ())[2]["content"].endswith("Final answer: 72")
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert prompter.stop_token_ids == (end, tokenizer.eos_token_id)
    assert prompter.target_ids(GSM)[-1] == end
    assert tokenizer.convert_tokens_to_ids("<|im_start|>") in prompt.ids
    assert Prompter.create(make_tokenizer(BOS_TEMPLATE)).stop_token_ids == (tokenizer.eos_token_id,)


def test_few_shot_plain_prompt_has_worked_blocks() -> None:
    text = Prompter.create(make_tokenizer(), task="math", shots=[MATH]).render(Problem("q", "Next?", "1")).text
    assert (
        "Question: Find $x$.\nSolution: We get it.\nFinal answer: $\\boxed{\\frac{1}{2}}$\n\nQuestion: Next?\nSolution:"
        in text
    )


@pytest.mark.parametrize(
    ("task", "problem"), [("gsm8k", GSM), ("math", MATH), ("arc", ARC), ("metamath", GSM), ("general", GSM)]
)
def test_the_answer_of_a_target_is_found_again(task: Any, problem: Problem) -> None:
    prompter = Prompter.create(make_tokenizer(), task=task)
    answer = extract(prompter.target_text(problem), problem.answer_kind, problem.choices).answer
    assert answer == (f"({problem.answer})" if problem.choices else problem.answer)


def test_options_are_part_of_the_question() -> None:
    assert "Which?\n(A) ice\n(B) water\nSolution:" in Prompter.create(make_tokenizer(), task="arc").render(ARC).text


def test_instruction_and_template_of_the_caller() -> None:
    tokenizer = make_tokenizer()
    assert Prompter.create(tokenizer, instruction="").render(GSM).text == "Question: How many?\nSolution:"
    assert Prompter.create(tokenizer, instruction="Do it.").render(GSM).text.startswith("Do it.\n\nQuestion:")
    primer = Prompter.create(tokenizer, form="primer", question_template=lambda p: f"{p.question}\nsolve:\n")
    assert primer.render(GSM).text == "How many?\nsolve:\n"
    assert tokenizer.decode(list(primer.target_ids(GSM))) == (GSM.solution or "") + "</s>"
    assert (primer.stop_texts, Prompter.create(tokenizer).stop_texts) == ((), ("\nQuestion:",))


def test_what_a_tokenizer_lacks_is_said_before_work() -> None:
    with pytest.raises(ModelError, match="no chat template"):
        Prompter.create(make_tokenizer(), form="chat")
    with pytest.raises(ModelError, match="refuses these messages"):
        Prompter.create(make_tokenizer(NO_SYSTEM), system_prompt="Be brief.")
    assert Prompter.create(make_tokenizer(NO_SYSTEM)).form == "chat"
    endless = make_tokenizer()
    endless.eos_token = None
    with pytest.raises(ModelError, match="no end-of-text token"):
        Prompter.create(endless)


def test_task_of_problems() -> None:
    assert task_of([GSM, GSM]) == "gsm8k"
    assert task_of([GSM, ARC]) == "general"
    assert task_of([]) == "general"
    assert task_of([Problem("x", "?", "1", source="jsonl")]) == "general"


def test_a_prompter_reads_its_tokenizers_vocabulary_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = make_tokenizer()
    prompter, read = Prompter.create(tokenizer), []
    vocabulary = tokenizer.get_vocab()
    monkeypatch.setattr(tokenizer, "get_vocab", lambda: read.append(1) or vocabulary)
    assert prompter.tokenizer_digest == prompter.tokenizer_digest and len(read) == 1
    assert prompter.tokenizer_digest == tokenizer_digest(tokenizer)


def test_tokenizer_digest_is_of_the_content() -> None:
    first, second = make_tokenizer(CHATML), make_tokenizer(CHATML)
    before = tokenizer_digest(first)
    assert before == tokenizer_digest(second)
    second("a b", padding="max_length", max_length=9, truncation=True)
    assert tokenizer_digest(second) == before
    assert tokenizer_digest(make_tokenizer(BOS_TEMPLATE)) != before
    second.add_tokens(["<new>"])
    assert tokenizer_digest(second) != before
