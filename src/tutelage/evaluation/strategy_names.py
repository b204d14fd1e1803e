"""The ways to answer a problem, by name: what each begins from, whom it needs, and how its outcome is scored.

A strategy either picks from independent answers, which all strategies of an evaluation share (`maj@8` and `pass@4`
rest on the same eight), or is played as a flow that may begin from those same answers (`evaluation/plays.py`). Nothing
here draws or scores.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal

from tutelage.errors import InputError

Begins = Literal["greedy", "samples", "nothing"]
Need = Literal["critic", "reward_model", "stop", "sandbox"]
Rule = Literal["mean", "pass", "vote", "best", "weighted", "last", "passing"]
MAX_SAMPLES = 10_000
NEEDS: dict[Need, str] = {
    "critic": "--critic MODEL, a model that criticises answers",
    "reward_model": "--reward-model FOLDER, what the recipe reward-model made",
    "stop": "stop=FOLDER, the Stop adapter that flow-dpo trained",
    "sandbox": "a sandbox for programs: see `tutelage doctor`",
}


@dataclass(frozen=True)
class Kind:
    """What all strategies of one name share.

    Args:
        form: how it is written; `k`, or `KxS`, stands for numbers.
        sentence: what it does, for users.
        rule: how an answered problem is scored. `mean` and `pass` are over all samples, `vote` is a majority of the
            final answers, `weighted` one by reward, `best` the answer with the highest reward, `last` the one final
            answer, `passing` a vote among the final answers that the critic passes.
        begins: which shared answers it begins from: the greedy one, samples, or none.
        is_flow: whether something is played after these.
        needs: whom it needs besides the actor.
    """

    form: str
    sentence: str
    rule: Rule
    begins: Begins = "samples"
    is_flow: bool = False
    needs: tuple[Need, ...] = ()

    @property
    def pattern(self) -> str:
        """A regular expression of its name, a group for each number."""
        number = "([0-9]{1,9})"
        if self.form.endswith("KxS"):
            return re.escape(self.form.removesuffix("KxS")) + f"{number}x{number}"
        return re.escape(self.form.removesuffix("k")) + number


def _flow(form: str, sentence: str, rule: Rule, begins: Begins, *needs: Need) -> Kind:
    return Kind(form, sentence, rule, begins, True, needs)


KINDS: dict[str, Kind] = {
    "greedy": Kind("greedy", "one answer at temperature 0", "last", "greedy"),
    "avg": Kind("avg@k", "mean accuracy of k samples", "mean"),
    "pass": Kind("pass@k", "whether any of k samples is right", "pass"),
    "maj": Kind("maj@k", "the most frequent answer of k samples", "vote"),
    "best-of": Kind("best-of-k", "the one of k samples with the highest reward", "best", needs=("reward_model",)),
    "weighted": Kind("weighted@k", "a vote of k samples weighted by reward", "weighted", needs=("reward_model",)),
    "refine": _flow("refine", "the greedy answer criticised and refined once", "last", "greedy", "critic"),
    "refine-judged": _flow("refine-judged", "only what the critic judges wrong is refined", "last", "greedy", "critic"),
    "refine-oracle": _flow("refine-oracle", "only what is wrong is refined: a bound", "last", "greedy", "critic"),
    "self-refine": _flow("self-refine", "the model criticises its own answer and refines it", "last", "greedy"),
    "critic-filter": _flow("critic-filter@k", "a vote of those of k samples that the critic passes", "passing",
                           "samples", "critic"),
    "critic-maj": _flow("critic-maj@k", "k samples, each criticised and refined; a vote", "vote", "samples", "critic"),
    "sequential": _flow("sequential@k", "k refinements one after the other; the last answer", "last", "samples",
                        "critic"),
    "grid": _flow("grid@KxS", "K samples, each refined S times one after the other; a vote", "vote", "samples",
                  "critic"),
    "flow": _flow("flow", "Answer writes chunk by chunk and Stop judges", "last", "nothing", "stop"),
    "pot-then-cot": _flow("pot-then-cot", "a program; prose where it does not run", "last", "nothing", "sandbox"),
}  # fmt: skip


@dataclass(frozen=True)
class Strategy:
    """A way to answer.

    Args:
        kind: a key of `KINDS`.
        k: samples, or for `sequential` refinements; 1 where the name has no number.
        steps: refinements of each sample, for `grid`.
    """

    kind: str
    k: int = 1
    steps: int = 1

    @property
    def what(self) -> Kind:
        """What its name stands for."""
        return KINDS[self.kind]

    @property
    def name(self) -> str:
        """As users write it: `greedy`, `maj@8`, `grid@4x2`."""
        form = self.what.form
        return form.replace("KxS", f"{self.k}x{self.steps}") if "KxS" in form else re.sub(r"k$", str(self.k), form)

    @property
    def num_samples(self) -> int:
        """Shared answers of each problem that it begins from; 0 for those that begin from nothing."""
        if self.what.begins == "nothing":
            return 0
        return 1 if self.what.begins == "greedy" or self.kind == "sequential" else self.k

    @property
    def is_flow(self) -> bool:
        """Whether it is played, not picked from samples."""
        return self.what.is_flow


def parse_strategy(text: str) -> Strategy:
    """The strategy that a text names.

    Raises:
        InputError: no strategy of that name, or a number outside of 1 .. 10,000.
    """
    spelt = text.strip().lower()
    for kind, what in KINDS.items():
        if what.form == kind:
            if spelt == kind:
                return Strategy(kind)
        elif (found := re.fullmatch(what.pattern, spelt)) and all(1 <= int(n) <= MAX_SAMPLES for n in found.groups()):
            return Strategy(kind, *map(int, found.groups()))
    forms = [what.form for what in KINDS.values()]
    spoken = re.sub(r"[0-9]+", "k", spelt)
    near = difflib.get_close_matches(spoken, [form.replace("KxS", "kxk") for form in forms], n=1)
    raise InputError(
        "there is no such strategy",
        seen=text,
        expected=f"one of {', '.join(forms)} with numbers from 1 to {MAX_SAMPLES:,}, e.g. maj@8",
        advice=f"did you mean {near[0].replace('kxk', 'KxS')}?" if near else "choose one of these",
    )
