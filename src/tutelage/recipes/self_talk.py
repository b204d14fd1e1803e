"""Self-talk via critique: arXiv 2411.16579. One model learns to check its own steps and to take errors back.

    1. solutions of the training problems by the actor; some wrong, some right ones are gone through
    2. a train of thought of each: steps with the critic's feedback between them; at a wrong step actor and critic go
       on from there until no error is left (`self_talk_flow`)
    3. a model smooths it into one voice (or a template writes it); kept only if its answer is right
    4. SFT of the model on these texts: one model that talks to itself
    compared, on the same trains, with SFT on whole-trajectory corrections (`self-correct`) and on the corrected
    solutions alone (`plain`), and with two players, the untrained actor and the critic: accuracy, maj@k, pass@k

Deviations: the paper's smoothing prompt is not published. `plain` is a control of ours: part of what any of these
brings is the right solutions in it.

Cost: n samples a problem, and up to `rounds` critiques and continuations of each solution gone through; one fine-tuning
an arm.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import field_validator

from tutelage.config.settings import (
    DataSettings,
    EvaluationSettings,
    ModelSettings,
    RunSettings,
    SamplerSettings,
    TrainingSettings,
    setting,
)
from tutelage.errors import NothingToLearn
from tutelage.evaluation.critic_prompts import critique_form, quoted, target_ids
from tutelage.evaluation.plays import ACTOR, CRITIC, Table
from tutelage.recipes import learn
from tutelage.recipes.bench import Bench
from tutelage.recipes.estimate import Workload
from tutelage.recipes.flow_stage import run_flows
from tutelage.recipes.grading_on_the_way import GradingOnTheWay
from tutelage.recipes.report import ReportBuilder
from tutelage.recipes.self_talk_flow import ThinkingRules, Train, think_about
from tutelage.recipes.self_talk_report import compare_arms, in_words, measure_arm, measure_players
from tutelage.recipes.self_talk_smoothing import SMOOTHER, smoothed_texts
from tutelage.recipes.strategy_stage import Seat
from tutelage.records import Example, SamplingParams, digest, record_id
from tutelage.text.self_talk import Piece, body_and_ending, inner_talk, joined, second_thoughts

NAME = "self-talk"
PAPER = "arXiv 2411.16579"
ARMS = ("self-talk", "self-correct", "plain")


class Config(DataSettings, ModelSettings, SamplerSettings, TrainingSettings, EvaluationSettings, RunSettings):
    """Settings of self-talk. `model` is the actor, and what learns to talk to itself."""

    critic: str = setting(..., "Who judges the steps: a model folder or hub name, an adapter, `server:URL`.")
    arms: list[str] = setting(list(ARMS), "What is learnt and compared: self-talk, self-correct, plain.")
    smoother: str | None = setting(
        None, "Model that rewrites a train of thought in one voice; none writes it from a template.",
        source=f"{PAPER}: a model",
    )  # fmt: skip
    feedback: Literal["all", "wrong"] = setting("all", "Feedback on every step, or on wrong ones only.")
    learn_errors: bool = setting(
        True, "Whether steps that are taken back are learnt too; false leaves them out of the loss.",
        source="ours; not stated",
    )  # fmt: skip
    num_samples: int = setting(5, "First solutions of each problem.", ge=1)
    temperature: float = setting(0.7, "Temperature of first solutions.", gt=0, le=5)
    num_wrong: int = setting(2, "Most wrong first solutions of a problem that are gone through.", ge=0)
    num_right: int = setting(1, "Most right ones.", ge=0)
    rounds: int = setting(5, "Most errors taken back in one train of thought.", ge=1, le=100)
    extend_temperature: float = setting(0.7, "Temperature at which the actor goes on.", ge=0, le=5)
    critic_temperature: float = setting(0.0, "Temperature of critiques.", source=f"{PAPER}, code", ge=0, le=5)
    critic_tokens: int = setting(1536, "Longest critique.", unit="tokens", source=f"{PAPER}, code", ge=1)
    critic_tries: int = setting(1, "How often a critic is asked until its text can be read.", ge=1, le=100)
    max_new_tokens: int = setting(1024, "Longest solution, and longest talk.", unit="tokens", ge=1)
    eval_samples: int = setting(8, "Samples a problem, k, for maj@k and pass@k.", ge=1)
    learning_rate: float = setting(5e-6, "Peak learning rate.", source=f"{PAPER}, code", gt=0, le=1)
    epochs: float = setting(1.0, "Passes over the texts.", source=f"{PAPER}, code", gt=0, le=1000)
    batch_size: int = setting(32, "Examples in one optimizer step.", source=f"{PAPER}, code: 4 x 8", ge=1)
    nll_average: Literal["sequence", "token"] = setting("sequence", "Per token of each example, or of the batch.")

    @field_validator("arms")
    @classmethod
    def _arms_are_known(cls, value: list[str]) -> list[str]:
        if not value or len(set(value)) < len(value) or not set(value) <= set(ARMS):
            raise ValueError("arms are some of self-talk, self-correct, plain, each once")
        return value

    def workload(self, num_train: int, num_test: int) -> Workload:
        """What a run does at most."""
        tested = min(self.eval_limit or num_test, num_test)
        through = self.num_wrong + self.num_right
        made = num_train * (self.num_samples + through * (1 + 2 * self.rounds + bool(self.smoother)))
        measured = tested * ((2 + len(self.arms)) * (1 + self.eval_samples) + 2 * self.eval_samples)
        steps = min(self.max_steps, max(1, int(self.epochs * num_train * through) // self.batch_size))
        return Workload(made + measured, 0, steps * len(self.arms), self.batch_size)


@dataclass(frozen=True)
class Talk:
    """A train of thought that may be learnt from, and its text in pieces; a smoothed text is one piece."""

    train: Train
    pieces: tuple[Piece, ...]


def run(config: Config, bench: Bench) -> dict[str, Any]:
    """Run the recipe; returns the report, which is also in the run folder.

    Raises:
        NothingToLearn: no train of thought came to a right answer.
    """
    report = ReportBuilder(NAME, config, bench)
    critic = seat_of(config, bench, config.critic, config.critic_temperature, config.critic_tokens)
    trains = think_all(config, bench, critic)
    talks = write_all(config, bench, trains)
    counts = counted(trains, talks)
    if not talks:
        raise nothing_to_learn(counts)
    players = measure_players(config, bench, critic)
    report.add(players.figures)
    results = [players.alone, players.together]
    for number, arm in enumerate(config.arms, start=1):
        examples = examples_of(talks, arm, bench, config)
        bench.run.append_many("examples", examples)
        weights, figures = learn.from_examples(config, bench, bench.base, examples, iteration=number, label=arm)
        results.append(measure_arm(config, bench, weights, figures, arm))
        report.add(figures)
    made = {"trains": counts, **compare_arms(results, config.seed)}
    whole = {**report.finish(), "weights": config.arms[0], "self_talk": made, "remarks": in_words(made)}
    bench.run.write_report(whole)
    return whole


def seat_of(config: Config, bench: Bench, name: str, temperature: float, tokens: int) -> Seat:
    """Another model in its seat."""
    guest = bench if name == config.model else bench.invite(name)
    return Seat.at(guest, SamplingParams(temperature, max_new_tokens=tokens), label=name)


def think_all(config: Config, bench: Bench, critic: Seat) -> list[Train]:
    """The trains of thought of all problems, recorded; resumable."""
    draw = SamplingParams(config.temperature, max_new_tokens=config.max_new_tokens)
    seats = {ACTOR: Seat.at(bench, draw), CRITIC: critic}
    players = {name: seat.player(name) for name, seat in seats.items()}
    first = players[ACTOR].params
    rules = ThinkingRules(
        first, config.num_samples, config.num_wrong, config.num_right,
        dataclasses.replace(first, temperature=config.extend_temperature), config.rounds, config.critic_tries,
    )  # fmt: skip
    asked = [[problem.id, bench.prompter.render(problem).ids] for problem in bench.train]
    made_of = [[name, seat.made_of()] for name, seat in seats.items()]
    stage = digest([NAME, config.seed, repr(rules), made_of, asked])
    judge = GradingOnTheWay(bench, {problem.id: problem for problem in bench.train})
    flows = [(p.id, think_about(Table(p, players, stage, config.seed), rules, judge)) for p in bench.train]
    done = run_flows(bench, "think", stage, flows, {name: (seat.bench, seat.weights) for name, seat in seats.items()})
    judge.flush()
    trains = [train for found in done.values() for train in found]
    bench.run.append_many("completions", [whole for train in trains for whole in train.wholes])
    return trains


def write_all(config: Config, bench: Bench, trains: list[Train]) -> list[Talk]:
    """The texts of the trains that ended right: from a template, or smoothed by a model and checked again."""
    form = critique_form(bench.prompter)
    right = [train for train in trains if train.end == "right"]
    drafts = [
        tuple(inner_talk(train.thoughts, body_and_ending(train.last.text)[1], form, config.feedback)) for train in right
    ]
    if config.smoother is None:
        return [Talk(train, draft) for train, draft in zip(right, drafts, strict=True)]
    smoother = seat_of(config, bench, config.smoother, 0.0, config.max_new_tokens)
    texts = smoothed_texts(bench, smoother, [(t.root, joined(draft)) for t, draft in zip(right, drafts, strict=True)],
                           seed=config.seed, player=SMOOTHER)  # fmt: skip
    return [Talk(train, (Piece(text),)) for train, text in zip(right, texts, strict=True) if text is not None]


def examples_of(talks: list[Talk], arm: str, bench: Bench, config: Config) -> list[Example]:
    """The trains as one arm learns them, each after the plain prompt of its problem."""
    form = critique_form(bench.prompter)
    stage = digest([arm, config.feedback, config.smoother, config.learn_errors, [t.train.root.id for t in talks]])
    examples = []
    for talk in talks:
        root, last = talk.train.root, talk.train.last
        pieces: Sequence[Piece] = (Piece(last.text.strip()),)
        if arm != "plain":
            pieces = talk.pieces if arm == "self-talk" else second_thoughts(root.text, last.text, form)
        ids, weights = tokens_of(bench, pieces, config.learn_errors)
        examples.append(
            Example(record_id(stage, root.problem_id, root.id), root.problem_id, root.prompt_ids, ids, weights, arm,
                    root.id)
        )  # fmt: skip
    return examples


def tokens_of(bench: Bench, pieces: Sequence[Piece], learn_errors: bool) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Token ids of a text with its end token, and the loss weight of each: 0 for errors that are not to be learnt."""
    prompter = bench.prompter
    # A gold solution of the same prompt begins like this; see `Prompter.target_text`.
    text, errors = " " if prompter.form == "plain" else "", list[range]()
    for number, piece in enumerate(pieces):
        shown = quoted(prompter, piece.text)
        if piece.is_error and not learn_errors:
            errors.append(range(len(text), len(text) + len(shown) + 1))
        text += shown + ("\n" if number + 1 < len(pieces) else "")
    ids = target_ids(prompter, text)
    if not errors:
        return ids, (1.0,) * len(ids)
    # The text is tokenized as a whole, as it is read: pieces tokenized apart would have other tokens at their edges.
    places = prompter.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    weights = [0.0 if any(begin in error for error in errors) else 1.0 for begin, _ in places]
    return ids, (*weights, 1.0)


def counted(trains: list[Train], talks: list[Talk]) -> dict[str, Any]:
    """How trains ended, how many errors were taken back, and how many texts are learnt from."""
    return {
        "begun": len(trains), "ends": dict(Counter(train.end for train in trains)), "learnt": len(talks),
        "errors_taken_back": dict(sorted(Counter(str(talk.train.num_errors) for talk in talks).items())),
    }  # fmt: skip


def nothing_to_learn(counts: dict[str, Any]) -> NothingToLearn:
    """The error of a run without a train of thought that may be learnt from."""
    return NothingToLearn(
        "no train of thought came to a right answer, so there is nothing to learn from",
        seen=f"{counts['begun']} begun: {counts['ends']}", expected="some that end right",
        advice="take a better critic (tutelage run critic), raise rounds or critic_tries, or easier problems",
    )  # fmt: skip
