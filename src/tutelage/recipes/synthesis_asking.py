"""What a language model is asked in order to write problems: lists in the manner of Self-Instruct, with fields.

    new        continue a list of 6 human and 2 machine problems of a field
    keywords   the same, and each new problem is built around given keywords (the field's, and the seeds' own)
    harder     from one problem, harder ones

Source: Self-Instruct (arXiv 2212.10560) for the list; fields, keywords and their expansion are the 360 talk's (2024)
and Nemotron-4's (arXiv 2406.11704); personas and difficulty raising are what users of such pipelines expect. The words
are our own.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tutelage.config.taxonomy import Field, Taxonomy
from tutelage.recipes.synthesis_records import Ask, Mode
from tutelage.records import Problem, seed_of
from tutelage.text.prompts import Prompt, Prompter

HARDER_ITEMS = 3
SEED_KEYWORDS = 12
"""Keywords taken of a field's seeds."""
_WORD = re.compile(r"[a-z]{4,}")


class AskSettings(Protocol):
    """The settings that say what is asked."""

    seed: int
    asks_per_round: int
    human_demos: int
    machine_demos: int
    list_length: int
    keywords_per_ask: int
    keyword_share: float
    harder_share: float
    persona_share: float


class Writer(Protocol):
    """Plans what is asked in a round."""

    def plan(self, round: int, machine: Sequence[Problem]) -> list[Ask]:
        """The requests of a round, from what was kept in earlier ones; equal for equal arguments."""
        ...


def draw_mode(settings: AskSettings, rng: random.Random) -> Mode:
    """A mode by the settings' shares."""
    toss = rng.random()
    if toss < settings.harder_share:
        return "harder"
    return "keywords" if toss < settings.harder_share + settings.keyword_share else "new"


@dataclass
class PromptWriter:
    """Asks a language model, in chat turns or as plain text.

    Args:
        settings: how many, of which mode.
        taxonomy: fields, keywords, personas.
        prompter: renders the prompts.
        seeds: the human problems.
    """

    settings: AskSettings
    taxonomy: Taxonomy
    prompter: Prompter
    seeds: Sequence[Problem]

    def __post_init__(self) -> None:
        self._field_of = {seed.id: self.taxonomy.field_of(seed.subject, seed.question) for seed in self.seeds}
        self._words = seed_keywords(self.seeds, self._field_of)

    def plan(self, round: int, machine: Sequence[Problem]) -> list[Ask]:
        """As `Writer.plan`: fields in turn, everything else drawn from the run's seed."""
        names = list(self.taxonomy.fields)
        asks = []
        for index in range(self.settings.asks_per_round):
            rng = random.Random(seed_of(self.settings.seed, "ask", round, index))
            field = self.taxonomy.fields[names[((round - 1) * self.settings.asks_per_round + index) % len(names)]]
            asks.append(self._ask(f"it{round}-{index}", field, machine, rng))
        return asks

    def _ask(self, name: str, field: Field, machine: Sequence[Problem], rng: random.Random) -> Ask:
        mode = draw_mode(self.settings, rng)
        persona = rng.choice(self.taxonomy.personas) if self._takes_persona(rng) else ""
        own = [problem for problem in machine if problem.subject == field.name]
        human = [seed for seed in self.seeds if self._field_of[seed.id] == field.name]
        if mode == "harder":
            base = rng.choice(human + own or list(self.seeds))
            text = harder_text(base.question, persona)
            return self._rendered(Ask(name, mode, field.name, (), (base.id,), Prompt((), ""), True), text, 1)
        demos = _draw(human, self.seeds, self.settings.human_demos, rng)
        demos += _draw(own, machine, self.settings.machine_demos, rng)
        rng.shuffle(demos)
        keywords: tuple[str, ...] = ()
        if mode == "keywords":
            known = list(dict.fromkeys([*field.keywords, *self._words.get(field.name, ())]))
            keywords = tuple(rng.sample(known, min(self.settings.keywords_per_ask, len(known))))
        text = list_text(field.about, [demo.question for demo in demos], keywords, persona)
        ids = tuple(demo.id for demo in demos)
        return self._rendered(Ask(name, mode, field.name, keywords, ids, Prompt((), ""), True), text, len(demos) + 1)

    def _takes_persona(self, rng: random.Random) -> bool:
        return rng.random() < self.settings.persona_share and bool(self.taxonomy.personas)

    def _rendered(self, ask: Ask, text: str, number: int) -> Ask:
        """With its prompt: a chat turn that says where the list goes on, or a text that ends with the next number."""
        last = number + HARDER_ITEMS - 1 if ask.mode == "harder" else max(number, self.settings.list_length)
        if self.prompter.form == "chat":
            turn = f"{text}\n\nReply with the list only, numbered from {number} to {last}."
            prompt = self.prompter.render_messages([{"role": "user", "content": turn}])
            return Ask(ask.id, ask.mode, ask.field, ask.keywords, ask.seed_ids, prompt, True)
        prompt = self.prompter.render_text(f"{text}\n{number}.")
        stop = ("\n\n", f"\n{last + 1}.", f"\n{last + 1} .")
        return Ask(ask.id, ask.mode, ask.field, ask.keywords, ask.seed_ids, prompt, True, True, stop)


def list_text(about: str, demos: Sequence[str], keywords: Sequence[str], persona: str) -> str:
    """The request for a list to go on; `demos` are its beginning."""
    parts = [
        f"Continue this list with new problems on {about}.",
        "Each is complete in itself, has exactly one final answer, and differs from those before it in what happens, "
        "not only in names and numbers.",
    ]
    if keywords:
        parts.append(f"Build every new problem around: {', '.join(keywords)}.")
    if persona:
        parts.append(f"Take the situations from the life of {persona}.")
    items = [f"{number}. {' '.join(demo.split())}" for number, demo in enumerate(demos, start=1)]
    return "\n".join([" ".join(parts), "", *items])


def harder_text(question: str, persona: str) -> str:
    """The request for harder problems made from one."""
    setting = f" Take the situations from the life of {persona}." if persona else ""
    return (
        "Make harder problems from the one below: each needs at least one more step of reasoning, a further condition, "
        "or asks for something that takes two ideas instead of one. Each is complete in itself and has exactly one "
        f"final answer.{setting}\n\nProblem: {' '.join(question.split())}\n\nHarder problems:"
    )


def seed_keywords(seeds: Sequence[Problem], field_of: dict[str, str]) -> dict[str, list[str]]:
    """Words that a field's seeds hold more often than those of other fields, most telling first.

    A word counts once a seed; its weight is (seeds of the field with it) ^ 2 / (seeds with it). Words of one seed, and
    those of more than a quarter of all seeds, are left out.
    """
    here: dict[str, Counter[str]] = {}
    everywhere: Counter[str] = Counter()
    for seed in seeds:
        found = set(_WORD.findall(seed.question.lower()))
        here.setdefault(field_of[seed.id], Counter()).update(found)
        everywhere.update(found)
    chosen = {}
    for field, counts in here.items():
        telling = [word for word, n in counts.items() if n > 1 and everywhere[word] <= len(seeds) / 4]
        weights = {word: counts[word] ** 2 / everywhere[word] for word in telling}
        chosen[field] = sorted(weights, key=lambda word: (-weights[word], word))[:SEED_KEYWORDS]
    return chosen


def _draw(own: Sequence[Problem], others: Sequence[Problem], count: int, rng: random.Random) -> list[Problem]:
    """`count` different problems, of `own` as far as they go, the rest from all others."""
    drawn = rng.sample(list(own), min(count, len(own)))
    known = {problem.id for problem in drawn}
    rest = [problem for problem in others if problem.id not in known]
    return drawn + rng.sample(rest, min(count - len(drawn), len(rest)))
