"""Critique-in-the-loop self-improvement: arXiv 2411.16579, section 5 and its published code.

    actor_0 = SFT(base) on D_0: worked solutions, and refinements after critiques
    for t = 1 .. T:
        1. sample n solutions of each problem from actor_{t-1}; keep the right ones
        2. the critic judges each wrong one, the actor refines it r times with that critique; keep at most
           `max_kept` right refinements of a critique, if they pass the shortcut barrier
        3. data_t = D_0 + right solutions + right refinements, of this round only
        4. actor_t = SFT of the ORIGINAL BASE on data_t; measure
    vanilla self-improvement = the same without a critic (`critic=none`)

Options beyond it: refinements as examples of refining too (`learn_refining`, in the code), DPO pairs of refinement over
original instead of or beside SFT (`learn_from`), a critic trained again each round on its critiques that helped
(`retrain_critic`; the code writes this data, `critic.json`, and leaves it; here without critiques that call the wrong
solution right). Deviations where these are off: equal solutions of a problem are learnt once, and texts that were cut
short never.

Cost of a round: n samples a problem; one critique and r refinements of each wrong one; one fine-tuning.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any, Literal

from tutelage.config.settings import (
    DataSettings,
    EvaluationSettings,
    ModelSettings,
    RunSettings,
    SamplerSettings,
    TrainingSettings,
    setting,
)
from tutelage.errors import InputError, NothingToLearn
from tutelage.evaluation.plays import ACTOR, CRITIC, Table
from tutelage.recipes import learn
from tutelage.recipes.bench import ELSEWHERE, Bench, Weights
from tutelage.recipes.critique_loop_data import Harvest, harvest, start_examples
from tutelage.recipes.critique_loop_report import (
    Levels,
    actor_levels,
    in_words,
    measure_round,
    practice_figures,
    summary_of,
)
from tutelage.recipes.critique_practice import Practice, PracticeRules, practise
from tutelage.recipes.estimate import Workload
from tutelage.recipes.flow_stage import run_flows
from tutelage.recipes.grading_on_the_way import GradingOnTheWay
from tutelage.recipes.report import IterationReport, ReportBuilder
from tutelage.recipes.strategy_stage import Seat
from tutelage.records import Example, SamplingParams, digest
from tutelage.selection.difficulty import make_groups

NAME = "critique-loop"
PAPER = "arXiv 2411.16579"


class Config(DataSettings, ModelSettings, SamplerSettings, TrainingSettings, EvaluationSettings, RunSettings):
    """Settings of critique-in-the-loop self-improvement. `model` is the base, trained again in every round."""

    critic: str | None = setting(None, "Who judges: a model, an adapter, `server:URL`; none is vanilla improvement.")
    iterations: int = setting(3, "Rounds, T; 0 trains on D_0 only.", source=f"{PAPER}, README of the code", ge=0)
    num_samples: int = setting(5, "Solutions sampled of each problem, n.", source=f"{PAPER}, README of the code", ge=1)
    temperature: float = setting(0.7, "Temperature of solutions.", source=f"{PAPER}, code", gt=0, le=5)
    num_refinements: int = setting(
        5, "Refinements of each wrong solution; 0 is vanilla improvement, with the critic at test time at most.",
        source=f"{PAPER}, code: n", ge=0,
    )  # fmt: skip
    refine_temperature: float = setting(0.7, "Temperature of refinements.", source=f"{PAPER}, code", ge=0, le=5)
    max_kept: int = setting(1, "Right refinements kept of one critique.", source=f"{PAPER}, code", ge=1)
    max_solutions: int | None = setting(None, "Right solutions kept of a problem, all kinds; none keeps all.", ge=1)
    shortcut_barrier: bool = setting(True, "Drop refinements with far fewer numbers.", source=f"{PAPER}, code")
    critic_temperature: float = setting(0.0, "Temperature of critiques.", source=f"{PAPER}, code", ge=0, le=5)
    critic_tokens: int = setting(1536, "Longest critique.", unit="tokens", source=f"{PAPER}, code", ge=1)
    critic_tries: int = setting(1, "How often a critic is asked until its text can be read.", ge=1, le=100)
    max_new_tokens: int = setting(1024, "Longest solution.", unit="tokens", source=f"{PAPER}, code", ge=1)
    start_limit: int | None = setting(
        None, "D_0: worked solutions of this many problems; none is all that have one, 0 none.",
        source=f"{PAPER}, code: all", ge=0,
    )  # fmt: skip
    start_refinements: str | None = setting(
        None, "D_0: critique data whose rows have a refined solution; none leaves them out.", source=f"{PAPER}, code"
    )
    learn_refining: bool = setting(False, "Learn refinements after (solution, critique) too.", source=f"{PAPER}, code")
    learn_from: Literal["sft", "dpo", "sft+dpo"] = setting(
        "sft", "SFT from the base; DPO pairs of refinement over original, from the last actor; or SFT, then DPO."
    )
    loss: Literal["dpo", "dpo_nll"] = setting("dpo_nll", "Loss on pairs, where `learn_from` has them.")
    beta: float = setting(0.1, "Strength of the pull towards the reference, for pairs.", gt=0, le=100)
    alpha: float = setting(1.0, "Weight of the NLL of the chosen, for pairs.", ge=0)
    retrain_critic: bool = setting(False, "Train the critic again each round on its critiques that helped.")
    level_samples: int = setting(
        0, "Samples of actor_0 that a problem's level of difficulty rests on; 0 measures none.",
        source=f"{PAPER}: 100", ge=0,
    )  # fmt: skip
    eval_critic: bool = setting(False, "Measure each actor with the critic at test time too (strategy refine).")
    learning_rate: float = setting(5e-6, "Peak learning rate.", source=f"{PAPER}, code", gt=0, le=1)
    epochs: float = setting(1.0, "Passes over a round's data.", source=f"{PAPER}, code", gt=0, le=1000)
    batch_size: int = setting(32, "Examples in one optimizer step.", source=f"{PAPER}, code: 4 x 8", ge=1)
    schedule: Literal["constant", "linear", "cosine"] = setting(
        "cosine", "Learning rate after the warm-up.", source=f"{PAPER}, code"
    )
    nll_average: Literal["sequence", "token"] = setting("sequence", "Per token of each example, or of the batch.")

    @property
    def has_repairs(self) -> bool:
        """Whether wrong solutions are criticised and refined; without, it is vanilla self-improvement."""
        return self.critic is not None and self.num_refinements > 0

    def rules(self, draw: SamplingParams) -> PracticeRules:
        """How problems are practised on.

        Args:
            draw: how the actor's solutions are drawn, with what ends them.
        """
        return PracticeRules(
            draw, self.num_samples, replace(draw, temperature=self.refine_temperature),
            self.num_refinements if self.has_repairs else 0, self.max_kept, self.shortcut_barrier, self.critic_tries,
        )  # fmt: skip

    def workload(self, num_train: int, num_test: int) -> Workload:
        """What a run does at most: every sample wrong, every critique refined."""
        tested = min(self.eval_limit or num_test, num_test)
        each = self.num_samples * (2 + self.num_refinements if self.has_repairs else 1)
        levels = self.level_samples * (num_train + tested)
        examples = num_train * (1 + self.num_samples * (1 + self.max_kept))
        steps = min(self.max_steps, max(1, int(self.epochs * examples) // self.batch_size))
        measured = tested * (1 + self.eval_samples + (2 if self.critic and self.eval_critic else 0))
        done = levels + self.iterations * num_train * each + (self.iterations + 1) * measured
        return Workload(done, 0, steps * (self.iterations + 1), self.batch_size)


def run(config: Config, bench: Bench) -> dict[str, Any]:
    """Run the recipe; returns the report, which is also in the run folder.

    Raises:
        InputError: the settings contradict each other.
        NothingToLearn: the first round has nothing to learn from.
    """
    check(config)
    report = ReportBuilder(NAME, config, bench)
    start = start_examples(bench, limit=config.start_limit, refinements=config.start_refinements)
    actor, figures = first_actor(config, bench, start)
    critic = seat_of_critic(config, bench)
    levels = actor_levels(config, bench, actor, num=config.level_samples)
    report.add(measure_round(config, bench, actor, figures, critic=critic, levels=levels))
    for t in range(1, config.iterations + 1):
        practice = practise_all(config, bench, actor, critic, t)
        crop = harvest(practice, round=t, max_solutions=config.max_solutions, learn_refining=config.learn_refining)
        if not crop.pairs if config.learn_from == "dpo" else not start and not crop.examples:
            if t == 1 and not start:
                raise nothing_to_learn(practice)
            bench.progress.note(f"round {t} has nothing to learn from, so the loop ends")
            break
        actor, figures = improve(config, bench, actor, start, crop, t)
        if config.retrain_critic and critic is not None and crop.critic_examples:
            critic = better_critic(config, bench, critic, crop, t)
        note_practice(report, figures, practice, crop, levels, start)
        report.add(measure_round(config, bench, actor, figures, critic=critic, levels=levels))
    summary = summary_of(report.iterations)
    whole = {**report.finish(), "critique_loop": summary, "remarks": in_words(summary)}
    bench.run.write_report(whole)
    return whole


def check(config: Config) -> None:
    """Refuse settings that contradict each other.

    Raises:
        InputError: says which.
    """
    if config.learn_from != "sft" and not config.has_repairs:
        raise InputError(
            "pairs are refinements over the solutions that they came from, and nothing is refined",
            seen=f"learn_from={config.learn_from}, critic={config.critic}, num_refinements={config.num_refinements}",
            expected="a critic and num_refinements of at least 1", advice="name a critic, or take learn_from=sft",
        )  # fmt: skip
    elsewhere = str(config.critic).startswith(ELSEWHERE)
    if config.retrain_critic and (not config.has_repairs or elsewhere):
        raise InputError(
            "this critic cannot be trained again", seen=f"critic={config.critic}",
            expected="a model whose weights lie on this machine, and num_refinements of at least 1",
            advice="leave retrain_critic out, or name a model folder or hub name",
        )  # fmt: skip


def first_actor(config: Config, bench: Bench, start: list[Example]) -> tuple[Weights, IterationReport]:
    """actor_0: the base fine-tuned on D_0, or the base itself where D_0 is empty."""
    if not start:
        return bench.base, IterationReport(0)
    bench.run.append_many("examples", start)
    return learn.from_examples(config, bench, bench.base, start, iteration=0)


def seat_of_critic(config: Config, bench: Bench) -> Seat | None:
    """The critic in its seat."""
    if config.critic is None:
        return None
    guest = bench if config.critic == config.model else bench.invite(config.critic)
    params = SamplingParams(config.critic_temperature, max_new_tokens=config.critic_tokens)
    return Seat.at(guest, params, label=config.critic)


def practise_all(config: Config, bench: Bench, actor: Weights, critic: Seat | None, t: int) -> Practice:
    """All problems' practice of a round, recorded; resumable."""
    seats = {ACTOR: Seat(bench, actor, SamplingParams(config.temperature, max_new_tokens=config.max_new_tokens))}
    if critic is not None:
        seats[CRITIC] = critic
    rules = config.rules(seats[ACTOR].player(ACTOR).params)
    asked = [[problem.id, bench.prompter.render(problem).ids] for problem in bench.train]
    made_of = [[name, seat.made_of()] for name, seat in seats.items()]
    stage = digest([NAME, t, config.seed, repr(rules), made_of, asked])
    players = {name: seat.player(name) for name, seat in seats.items()}
    judge = GradingOnTheWay(bench, {problem.id: problem for problem in bench.train})
    seed = config.seed * 1000 + t
    flows = [(p.id, practise(Table(p, players, stage, seed), rules, judge)) for p in bench.train]
    done = run_flows(bench, f"it{t}-practice", stage, flows, {n: (s.bench, s.weights) for n, s in seats.items()})
    judge.flush()
    return Practice(tuple(done.values()), judge.known)


def improve(
    config: Config, bench: Bench, actor: Weights, start: list[Example], crop: Harvest, t: int
) -> tuple[Weights, IterationReport]:
    """actor_t: by SFT from the base, by DPO from the last actor, or both in turn."""
    data = start + crop.examples
    bench.run.append_many("examples", crop.examples)
    bench.run.append_many("pairs", crop.pairs)
    figures = IterationReport(t)
    if config.learn_from != "dpo":
        actor, figures = learn.from_examples(config, bench, bench.base, data, iteration=t)
    if config.learn_from != "sft" and crop.pairs:
        label = f"it{t}-dpo" if config.learn_from == "sft+dpo" else None
        actor, figures = learn.from_pairs(config, bench, actor, crop.pairs, iteration=t, label=label)
    if config.keep_checkpoints == "last" and t > 1:
        for label in (f"it{t - 1}", f"it{t - 1}-dpo"):
            shutil.rmtree(bench.run.checkpoint_path(label), ignore_errors=True)
    # Each round's actor has its own version, although each may be one fine-tuning away from the base.
    return replace(actor, policy=replace(actor.policy, version=bench.base.policy.version + 1 + t)), figures


def better_critic(config: Config, bench: Bench, critic: Seat, crop: Harvest, t: int) -> Seat:
    """The first critic fine-tuned on this round's critiques that helped."""
    guest = critic.bench
    guest.run.append_many("examples", crop.critic_examples)
    weights, _ = learn.from_examples(config, guest, guest.base, crop.critic_examples, iteration=t, label=f"critic{t}")
    return replace(critic, weights=replace(weights, policy=replace(weights.policy, version=t)))


def note_practice(
    report: ReportBuilder, figures: IterationReport, practice: Practice, crop: Harvest, levels: Levels,
    start: list[Example],
) -> None:  # fmt: skip
    """What a round's practice shows: outcomes, difficulty, what was kept, of which level, at what cost."""
    roots = [root for one in practice.problems for root in one.roots]
    report.count(practice.verdicts[root.id] for root in roots)
    groups = make_groups(roots, practice.verdicts, round=figures.iteration)
    report.bench.run.append_many("groups", groups)
    figures.note_groups(groups, roots)
    figures.details |= practice_figures(practice, crop, start, levels.train)


def nothing_to_learn(practice: Practice) -> NothingToLearn:
    """The error of a first round without data."""
    samples = sum(len(one.roots) for one in practice.problems)
    repairs = sum(len(one.repairs) for one in practice.problems)
    return NothingToLearn(
        "no solution and no refinement was right, and D_0 is empty, so there is nothing to learn from",
        seen=f"{samples} solutions and {repairs} critiques of {len(practice.problems)} problems",
        expected="right ones, or worked solutions to begin with",
        advice="raise num_samples or max_new_tokens, take easier problems, a stronger model, or data with solutions",
    )
