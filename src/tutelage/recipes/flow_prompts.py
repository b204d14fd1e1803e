"""What the Stop model is asked, and how its word is read: the two prompts of Flow-DPO, in three prompt forms.

The paper's text speaks of completeness, its appendix asks for correctness; both are here. Chat models get a system
message and a turn (arXiv 2410.22304, appendix, in our own words), models without a chat template the same as plain
text, the built-in model the markers that it was schooled with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from tutelage.errors import ModelError
from tutelage.problems.primer import complete_prompt, correct_prompt, question_text
from tutelage.records import Problem
from tutelage.text.prompts import Prompt, Prompter

Judgement = Literal["correctness", "completeness"]

SYSTEM = "You judge solutions of mathematics problems. Your whole reply is one word: Yes or No."
QUESTIONS: dict[Judgement, str] = {
    "correctness": "Is the candidate solution correct? Reply Yes or No.",
    "completeness": "Is the candidate solution complete, with a final answer? Reply Yes or No.",
}
_WORD = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True)
class StopPrompter:
    """Renders the question to the Stop model; make one with `StopPrompter.create`.

    Attributes:
        yes_ids, no_ids: the two decisions as the model should write them, end token included.
    """

    prompter: Prompter
    answers: Prompter
    judgement: Judgement
    has_system: bool
    yes_ids: tuple[int, ...]
    no_ids: tuple[int, ...]

    @classmethod
    def create(cls, answers: Prompter, judgement: Judgement) -> StopPrompter:
        """A prompter for Stop on the tokenizer, and in the form, of the Answer model's prompts."""
        is_chat, has_system = answers.form == "chat", False
        prompter = Prompter.create(answers.tokenizer, form="chat" if is_chat else "primer", instruction="")
        if is_chat:
            try:
                prompter = Prompter.create(answers.tokenizer, form="chat", instruction="", system_prompt=SYSTEM)
                has_system = True
            except ModelError:  # a template without a system role: the text goes into the turn
                pass
        words = ("yes", "no") if answers.form == "primer" else ("Yes", "No")
        space = " " if answers.form == "plain" else ""
        end = prompter.stop_token_ids[0]
        yes_ids, no_ids = (
            (*answers.tokenizer(space + word, add_special_tokens=False)["input_ids"], end) for word in words
        )
        return cls(prompter, answers, judgement, has_system, tuple(yes_ids), tuple(no_ids))

    def render(self, problem: Problem, text: str) -> Prompt:
        """The prompt that asks about a partial answer of a problem."""
        return self.prompter.render(replace(problem, question=self._asked(problem, text), choices=None))

    def _asked(self, problem: Problem, text: str) -> str:
        if self.answers.form == "primer":
            ask = correct_prompt if self.judgement == "correctness" else complete_prompt
            return ask(question_text(problem), text)
        question = replace(self.answers, question_template=None).question_text(problem)
        body = f"Problem: {question}\n\nCandidate solution: {text.strip()}\n\n{QUESTIONS[self.judgement]}"
        if self.answers.form == "plain":
            return f"{SYSTEM}\n\n{body}\nReply:"
        return body if self.has_system else f"{SYSTEM}\n\n{body}"

    @property
    def max_tokens(self) -> int:
        """Room for either decision and its end token."""
        return max(len(self.yes_ids), len(self.no_ids))


def read_decision(text: str) -> bool | None:
    """Whether a reply says yes (True) or no (False); None where it says neither."""
    found = _WORD.match(text)
    return None if found is None else found[1].lower() == "yes"
