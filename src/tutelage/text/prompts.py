"""Prompts: from a problem to token ids, the same way for sampling, training and evaluation.

Zero-shot and few-shot prompts in the manner of Iterative RPO (arXiv 2404.19733 section 4 and appendix, in our own
words): reason step by step, end with `Final answer: X`. Three forms: `chat` (the tokenizer's template; shots are
earlier turns), `plain` (Question / Solution blocks) and `primer` (the built-in model's own format).

The tokenizer is duck-typed (a transformers tokenizer); nothing of transformers is imported. Prompt and target are
tokenized apart and concatenated as ids, so the boundary is exact; a template is rendered to text and tokenized
without special tokens, so a beginning-of-text token is never added twice.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from tutelage.errors import ModelError
from tutelage.records import Problem

Form = Literal["auto", "chat", "plain", "primer"]
Task = Literal["gsm8k", "math", "arc", "metamath", "general"]
Message = dict[str, str]

INSTRUCTIONS: dict[Task, str] = {
    "gsm8k": "Solve the problem below. Reason step by step, and close with one line of the form "
    "`Final answer: X`, where X is the number asked for.",
    "math": "Solve the problem below. Reason step by step, put the result in \\boxed{}, and close with one line of the "
    "form `Final answer: $\\boxed{X}$`.",
    "arc": "Answer the multiple-choice question below. Reason step by step, and close with one line of the form "
    "`Final answer: (X)`, where X is the letter of one option.",
    "metamath": "Solve the problem below. Reason step by step, and close with one line of the form `Final answer: X`.",
    "general": "Answer the question below. Reason step by step, and close with one line of the form `Final answer: X`.",
}
STYLE_INSTRUCTIONS: dict[str, str] = {
    "pot": "Solve the problem below by a Python program. Write nothing but one block that opens with ```python and "
    "closes with ```; it must print the result, and only that, as its last line. The standard library and sympy are "
    "there.",
    "mixed": "Solve the problem below. Reason in words first, then leave the calculation to a Python program in a "
    "block that opens with ```python and closes with ```, and that prints what you need; the standard library and "
    "sympy are there. You will be shown its output in a block of its own. Then close with one line of the form "
    "`Final answer: X`.",
}
"""Requests for programs (style `pot`) and for prose with programs (`mixed`), of models that know fences."""
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
_MARK = "ANSWERMARK"
_TASKS: dict[str, Task] = {"gsm8k": "gsm8k", "math": "math", "arc": "arc", "metamath": "metamath"}


@dataclass(frozen=True)
class Prompt:
    """A prompt as ids, as text, and as chat messages where the form is chat."""

    ids: tuple[int, ...]
    text: str
    messages: tuple[Message, ...] | None = None


@dataclass(frozen=True)
class Prompter:
    """Renders problems to prompts and gold solutions to targets; make one with `Prompter.create`."""

    tokenizer: Any
    form: Literal["chat", "plain", "primer"]
    task: Task
    instruction: str
    system_prompt: str | None
    shots: tuple[Problem, ...]
    question_template: Callable[[Problem], str] | None
    prefix_ids: tuple[int, ...]
    stop_token_ids: tuple[int, ...]
    eos_id: int

    @classmethod
    def create(
        cls,
        tokenizer: Any,
        *,
        form: Form = "auto",
        task: Task = "general",
        instruction: str | None = None,
        system_prompt: str | None = None,
        shots: Sequence[Problem] = (),
        question_template: Callable[[Problem], str] | None = None,
    ) -> Prompter:
        """A prompter for a tokenizer.

        Args:
            tokenizer: a transformers tokenizer or anything with its methods.
            form: `auto` is chat where the tokenizer has a chat template, else plain.
            task: chooses the instruction and how a final answer is written.
            instruction: text before the question; None takes the task's, "" none.
            system_prompt: system message of chat prompts.
            shots: worked examples; each needs a solution unless it is multiple choice.
            question_template: the question's text in the prompt; with form `primer` the whole prompt.

        Raises:
            ModelError: no end token, or a chat template that is missing or refuses these messages.
        """
        eos_id = _end_token(tokenizer)
        form = _resolve(form, tokenizer)
        turn_end = _turn_end(tokenizer, system_prompt) if form == "chat" else None
        return cls(
            tokenizer=tokenizer,
            form=form,
            task=task,
            instruction=INSTRUCTIONS[task] if instruction is None else instruction,
            system_prompt=system_prompt,
            shots=tuple(shots),
            question_template=question_template,
            prefix_ids=() if form == "chat" else _prefix_ids(tokenizer),
            stop_token_ids=(eos_id,) if turn_end in (None, eos_id) else (turn_end, eos_id),
            eos_id=eos_id,
        )

    @cached_property
    def tokenizer_digest(self) -> str:
        """`tokenizer_digest` of its tokenizer, made once: a vocabulary of 128,000 takes a second."""
        return tokenizer_digest(self.tokenizer)

    @property
    def stop_texts(self) -> tuple[str, ...]:
        """Texts that end a completion of this form besides its end token: a base model that goes on asking."""
        return ("\nQuestion:",) if self.form == "plain" else ()

    def render(self, problem: Problem) -> Prompt:
        """The prompt of a problem."""
        if self.form == "chat":
            return self.render_messages(self._messages(problem))
        return self.render_text(self.question_text(problem) if self.form == "primer" else self._plain(problem))

    def render_text(self, text: str) -> Prompt:
        """A text as a prompt, as it is; for the forms other than chat."""
        return Prompt(self.prefix_ids + _encode(self.tokenizer, text), text)

    def render_messages(self, messages: Sequence[Message]) -> Prompt:
        """A conversation as a prompt for its next turn; for the form chat."""
        text = _apply_template(self.tokenizer, messages, add_generation_prompt=True)
        return Prompt(_encode(self.tokenizer, text), text, tuple(messages))

    def asked(self, problem: Problem) -> str:
        """What the user's turn says: the instruction and the question."""
        question = self.question_text(problem)
        return f"{self.instruction}\n\n{question}" if self.instruction else question

    def target_text(self, problem: Problem) -> str:
        """The gold solution as the model should write it after the prompt, without the end token."""
        if self.form == "primer":
            return problem.solution or problem.answer
        return (" " if self.form == "plain" else "") + self._worked(problem)

    def target_ids(self, problem: Problem) -> tuple[int, ...]:
        """Ids of the gold solution and the token that ends a turn, to be put after `render(problem).ids`."""
        return (*_encode(self.tokenizer, self.target_text(problem)), self.stop_token_ids[0])

    def question_text(self, problem: Problem) -> str:
        """The question, with its options if it has any."""
        if self.question_template is not None:
            return self.question_template(problem)
        if problem.choices is None:
            return problem.question
        options = zip(problem.choices.labels, problem.choices.texts, strict=True)
        return "\n".join([problem.question, *(f"({label}) {text}" for label, text in options)])

    def closing(self, problem: Problem) -> str:
        """The line that ends a worked solution."""
        return f"Final answer: {self._final(problem)}"

    def _worked(self, problem: Problem) -> str:
        solution = _CALCULATOR.sub("", problem.solution or "").strip()
        return "\n".join(part for part in (solution, self.closing(problem)) if part)

    def _final(self, problem: Problem) -> str:
        if self.task == "math":
            return f"$\\boxed{{{problem.answer}}}$"
        return f"({problem.answer})" if problem.answer_kind == "choice" else problem.answer

    def _messages(self, problem: Problem) -> tuple[Message, ...]:
        messages: list[Message] = []
        if self.system_prompt:
            messages.append({"role": "system", "content": self.system_prompt})
        for shot in self.shots:
            messages.append({"role": "user", "content": self.asked(shot)})
            messages.append({"role": "assistant", "content": self._worked(shot)})
        messages.append({"role": "user", "content": self.asked(problem)})
        return tuple(messages)

    def _plain(self, problem: Problem) -> str:
        blocks = [self.instruction] if self.instruction else []
        blocks += [f"Question: {self.question_text(shot)}\nSolution: {self._worked(shot)}" for shot in self.shots]
        return "\n\n".join([*blocks, f"Question: {self.question_text(problem)}\nSolution:"])


def task_of(problems: Iterable[Problem]) -> Task:
    """The task that all problems share by their source; `general` where they differ or it is unknown."""
    sources = {problem.source.split(":")[0] for problem in problems}
    return _TASKS.get(next(iter(sources)), "general") if len(sources) == 1 else "general"


def tokenizer_digest(tokenizer: Any) -> str:
    """Hash of what a tokenizer does: vocabulary, merges, special tokens and chat template.

    Equal for the same tokenizer loaded from two places; padding and truncation settings do not count.
    """
    content: dict[str, Any] = {
        "vocabulary": sorted(tokenizer.get_vocab().items()),
        "template": getattr(tokenizer, "chat_template", None),
        "special": sorted(str(token) for token in getattr(tokenizer, "all_special_tokens", ())),
    }
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        state = json.loads(backend.to_str())
        content["backend"] = {
            key: state.get(key) for key in ("normalizer", "pre_tokenizer", "post_processor", "decoder")
        }
        content["merges"] = (state.get("model") or {}).get("merges")
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _end_token(tokenizer: Any) -> int:
    eos_id = getattr(tokenizer, "eos_token_id", None)
    if eos_id is None:
        raise ModelError(
            "The tokenizer has no end-of-text token",
            seen=_name(tokenizer),
            expected="a tokenizer with eos_token set",
            advice="set eos_token in its tokenizer_config.json",
        )
    return int(eos_id)


def _resolve(form: Form, tokenizer: Any) -> Literal["chat", "plain", "primer"]:
    has_template = bool(getattr(tokenizer, "chat_template", None))
    if form == "auto":
        return "chat" if has_template else "plain"
    if form == "chat" and not has_template:
        raise ModelError(
            "The chat prompt form was asked for, but the tokenizer has no chat template",
            seen=_name(tokenizer),
            expected="a tokenizer with a chat template",
            advice="use prompt=plain, or a chat model",
        )
    return form


def _encode(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) if text else ()


def _prefix_ids(tokenizer: Any) -> tuple[int, ...]:
    """What the tokenizer puts before every text (a beginning-of-text token), and nothing it puts after."""
    bare = list(_encode(tokenizer, "a"))
    full = list(tokenizer("a")["input_ids"])
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return tuple(full[:start])
    return ()


def _apply_template(tokenizer: Any, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
    """The template's text. Boundary to a template that came with a model: whatever it raises becomes a ModelError."""
    try:
        text = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except Exception as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ModelError(
            f"The model's chat template refuses these messages: {error}",
            seen=f"roles {roles}",
            expected="a template for these roles",
            advice="leave system_prompt out, use num_shots=0, or use prompt=plain",
        ) from error
    if not isinstance(text, str):
        raise ModelError("The chat template did not give a text", seen=type(text).__name__, expected="str")
    return text


def _turn_end(tokenizer: Any, system_prompt: str | None) -> int | None:
    """The special token that the template puts after an assistant's turn, if it puts one."""
    system: list[Message] = [{"role": "system", "content": system_prompt}] if system_prompt else []
    messages = [*system, {"role": "user", "content": "Hello"}, {"role": "assistant", "content": _MARK}]
    text = _apply_template(tokenizer, messages, add_generation_prompt=False)
    _, found, after = text.rpartition(_MARK)
    if not found:
        return None
    ids = _encode(tokenizer, after.lstrip())
    special = set(getattr(tokenizer, "all_special_ids", ())) | set(_added_ids(tokenizer))
    return ids[0] if ids and ids[0] in special else None


def _added_ids(tokenizer: Any) -> list[int]:
    added = getattr(tokenizer, "get_added_vocab", None)
    return list(added().values()) if added is not None else []


def _name(tokenizer: Any) -> str:
    return str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)
