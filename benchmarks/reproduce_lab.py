"""The laboratory that the reproduction studies work in: one model, one set of problems, and the loop's verbs.

A study is made of cells, each one method with one seed in one world. A cell opens a lab, which composes public library
pieces: it samples and grades, pairs, learns for a given number of updates from given weights, and measures. Nothing
is kept but the row that the cell returns: the run folder is a temporary one.

It is not a recipe: recipes learn from the weights that sampled, a study also learns DPO from STaR's weights on the
first model's pairs. Training length is counted in updates, so that all methods can be given the same.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tutelage.cli.backends import open_bench
from tutelage.evaluation.strategies import parse_strategy, score_strategy
from tutelage.learning.fitting import PairProbe
from tutelage.learning.preference import PreferenceLearner
from tutelage.learning.sft import SFTLearner
from tutelage.problems.primer import annotate_problem
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.iterative_rpo import NAME, Config
from tutelage.recipes.progress import SilentProgress
from tutelage.recipes.sft import gold_examples
from tutelage.records import Completion, PreferencePair, Problem, SamplingParams, Verdict, digest, seed_of
from tutelage.selection.difficulty import difficulty_histogram, make_groups
from tutelage.selection.pairs import PairingResult, make_pairs

PROBE_DATA, PROBE_SAMPLES, PROBE_SEED = "primer:dev?n=120&seed=11", 16, 11
CURVE_POINTS = 12
VOTES_TEMPERATURE = 0.8


@dataclass(frozen=True)
class World:
    """What is fixed for all methods of a study.

    Args:
        name: "primer", "choice" for the multiple-choice variant, or "lucky" (see `lucky`).
        model: `primer`, or a model folder.
        num_train: problems practised on; each seed has its own.
        num_samples: solutions of each problem and iteration, N.
        temperatures: of each iteration's samples; the last one goes on.
        pairs_per_problem: K.
        gold: whether gold solutions join the winners (`gold_in_winners` of the recipe).
        lucky: share of wrong practice samples that are taken for right, as if the answer were the letter of a choice:
            0.25 is a guess among four. Measurements are not touched.
        eval_data: problems to measure on, e.g. "test" or "dev".
        num_greedy, num_votes: how many of them are measured greedily, and by a vote over `votes`; 0 leaves it out.
        votes: samples of a vote.
    """

    name: str = "primer"
    model: str = "primer"
    num_train: int = 80
    num_samples: int = 16
    temperatures: tuple[float, ...] = (0.8, 0.8, 1.3, 1.3)
    pairs_per_problem: int = 5
    gold: str = "never"
    lucky: float = 0.0
    eval_data: str = "test"
    num_greedy: int = 1000
    num_votes: int = 250
    votes: int = 32

    def config(self, seed: int) -> Config:
        """The recipe's config that this world is in, with training problems of this seed."""
        choice = "&choice=1" if self.name == "choice" else ""
        return Config(
            model=self.model, prompt="primer", device="cpu", dtype="float32",
            data=f"primer:train?n={self.num_train}&seed={seed}{choice}",
            eval_data=f"primer:{self.eval_data}?n={self.num_greedy}{choice}", dev_data=PROBE_DATA + choice,
            num_samples=self.num_samples, temperature=list(self.temperatures), max_new_tokens=96, max_batch=128,
            pairs_per_problem=self.pairs_per_problem, gold_in_winners=self.gold, max_pairs=None, seed=seed,
        )  # fmt: skip


@dataclass(frozen=True)
class Learning:
    """How weights are changed.

    Args:
        loss: `sft` on the chosen, `gold` (SFT on gold solutions), `dpo`, `dpo_nll`.
        learning_rate: constant.
        updates: optimizer steps of 16 pairs or examples.
        beta, alpha: of the preference losses.
    """

    loss: str
    learning_rate: float
    updates: int
    beta: float = 0.1
    alpha: float = 1.0


@dataclass(frozen=True)
class Practice:
    """Samples of the training problems, graded and paired."""

    completions: list[Completion]
    verdicts: dict[str, Verdict]
    pairing: PairingResult


@dataclass
class Lab:
    """A bench and what the verbs share.

    Args:
        world: what is fixed.
        config: the recipe's config of this world and seed.
        bench: problems, prompts, grader, samplers.
        count: labels made so far, so that each stage has its own.
    """

    world: World
    config: Config
    bench: Bench
    count: int = 0
    _probe: list[PreferencePair] = field(default_factory=list)

    @property
    def base(self) -> Weights:
        """The model that every method starts from."""
        return self.bench.base

    def label(self) -> str:
        """A new name for a stage."""
        self.count += 1
        return f"s{self.count}"

    def sample(
        self, weights: Weights, problems: Sequence[Problem], params: SamplingParams, count: int, *, name: str
    ) -> tuple[list[Completion], dict[str, Verdict]]:
        """Samples of problems and their verdicts."""
        plan = stages.SamplingPlan(name, params, count, self.config.seed)
        completions = stages.sample(self.bench, weights, problems, plan)
        return completions, stages.grade(self.bench, problems, completions, name=f"{name}-grade")

    def practise(self, weights: Weights, iteration: int, *, doubled: bool = False) -> Practice:
        """Sample the training problems, grade, pair; `doubled` makes twice the pairs of the same samples."""
        params = SamplingParams(temperature=self.config.temperature_at(iteration), max_new_tokens=96)
        completions, verdicts = self.sample(
            weights, self.bench.train, params, self.world.num_samples, name=f"{self.label()}-it{iteration}-sample"
        )
        verdicts = {name: self._guessed(verdict) for name, verdict in verdicts.items()}
        rule = self.config.pairing()
        rule = replace(rule, count=rule.count * (2 if doubled else 1))
        pairing = make_pairs(
            self.bench.train, completions, verdicts, rule, seed=self.config.seed, iteration=iteration,
            gold_ids=self.bench.prompter.target_ids,
        )  # fmt: skip
        return Practice(completions, verdicts, pairing)

    def _guessed(self, verdict: Verdict) -> Verdict:
        """The verdict, or that of a lucky guess where it was a wrong answer; drawn by the completion's id."""
        draw = random.Random(seed_of("lucky", self.config.seed, verdict.completion_id)).random()
        if verdict.outcome != "incorrect" or draw >= self.world.lucky:
            return verdict
        return replace(verdict, outcome="correct", score=1.0, decided_by="lucky guess")

    def probe(self) -> list[PreferencePair]:
        """One right and one wrong sample of each of some unseen (dev) problems, drawn from the first model: the same
        pairs for every method and seed."""
        if not self._probe:
            plan = stages.SamplingPlan("probe", SamplingParams(temperature=1.0, max_new_tokens=96), PROBE_SAMPLES,
                                       PROBE_SEED)  # fmt: skip
            completions = stages.sample(self.bench, self.base, self.bench.dev, plan)
            verdicts = stages.grade(self.bench, self.bench.dev, completions, name="probe-grade")
            rule = replace(self.config.pairing(), count=1, gold="never")
            self._probe = make_pairs(self.bench.dev, completions, verdicts, rule, seed=PROBE_SEED).pairs
        return self._probe

    def learn(
        self, how: Learning, weights: Weights, pairs: Sequence[PreferencePair], *, curves: bool = False
    ) -> tuple[Weights, dict[str, Any]]:
        """Weights learnt from `weights`, and what the training showed.

        Args:
            how: loss and hyperparameters.
            weights: where training starts; also the reference of the preference losses.
            pairs: what is learnt from; with loss `gold` only their curve is.
            curves: follow the log-probs of training pairs and of unseen pairs.
        """
        name, seed = self.label(), seed_of(self.config.seed, "learn", how.loss)
        config = self.config.model_copy(
            update={"learning_rate": how.learning_rate, "max_steps": how.updates, "epochs": 1000.0}
        )
        open_it = {"beta": how.beta, "alpha": how.alpha, "seed": seed, "device": config.device, "dtype": config.dtype}
        if how.loss == "gold":
            learner: Any = SFTLearner.open(weights.model, config, seed=seed, device=config.device, dtype=config.dtype)
            data: tuple[Any, ...] = (gold_examples(self.bench),)
        else:
            learner = PreferenceLearner.open(weights.model, config, loss=how.loss, **open_it)
            data = (pairs, learner.reference_logprobs(pairs) if how.loss != "sft" else [])
        options: dict[str, Any] = {"max_steps": how.updates}
        followed: dict[str, list[dict[str, float]]] = {}
        if curves:
            every = max(1, how.updates // CURVE_POINTS)
            options |= {"eval_every": every, "on_eval": self._follower(learner, pairs, followed)}
        result = learner.fit(*data, None, **options)
        folder = self.bench.run.checkpoint_path(name)
        learner.save(folder)
        stage = digest([name, weights.lineage, asdict(how), [item.id for item in data[0]]])
        facts: dict[str, Any] = {"updates": result.steps, "learning_rate": how.learning_rate, "items": len(data[0])}
        if curves:
            facts["curves"] = followed
        return weights.learnt(folder, stage, is_adapter=False), facts

    def _follower(
        self, learner: Any, pairs: Sequence[PreferencePair], into: dict[str, list[dict[str, float]]]
    ) -> Callable[[int], None]:
        """What measures at most 64 training pairs, and the unseen ones, into `into`; done once at step 0."""
        sets = {"train": pairs[:: max(1, len(pairs) // 64)][:64], "unseen": self.probe()}
        probes = {which: PairProbe(learner.policy, some) for which, some in sets.items() if some}

        def follow(step: int) -> None:
            for which, probe in probes.items():
                values = {name: round(value, 4) for name, value in asdict(probe.measure(step)).items()}
                into.setdefault(which, []).append(values)

        follow(0)
        return follow

    def measure(self, weights: Weights, *, data: Sequence[Problem] | None = None, votes: bool = True) -> dict[str, Any]:
        """Accuracy greedily and by vote, problem by problem, and how much of what is right is rightly reasoned."""
        problems = list(data or self.bench.test)
        row = {"greedy": self._score(weights, problems, "greedy")}
        if votes and self.world.num_votes:
            row["votes"] = self._score(weights, problems[: self.world.num_votes], f"maj@{self.world.votes}")
        return row

    def _score(self, weights: Weights, problems: list[Problem], strategy: str) -> dict[str, Any]:
        plan = parse_strategy(strategy)
        params = SamplingParams(temperature=VOTES_TEMPERATURE if plan.kind == "maj" else 0.0, max_new_tokens=96)
        completions, verdicts = self.sample(weights, problems, params, plan.num_samples, name=self.label())
        result = score_strategy(plan, problems, completions, verdicts)
        row = {"accuracy": result.value, "low": result.low, "high": result.high, "n": result.n}
        values = [result.per_problem.get(p.id, 0.0) for p in problems]
        row["solved"] = "".join(str(int(value >= 0.5)) for value in values)
        if plan.kind == "maj":
            right = sum(verdict.is_correct for verdict in verdicts.values())
            row["samples"] = round(right / max(1, len(verdicts)), 4)
            hits = Counter(verdicts[c.id].is_correct and c.problem_id for c in completions)
            row["counts"] = [hits[p.id] for p in problems]
        else:
            row |= _truth(problems, completions)
        return row


def _truth(problems: Sequence[Problem], completions: Sequence[Completion]) -> dict[str, Any]:
    """For each problem whether every step of its completion is right, as a string of 0 and 1; and of what kind the
    first wrong steps are (`answer`: all steps are right, the answer line is not)."""
    texts = {completion.problem_id: completion.text for completion in completions}
    notes = [annotate_problem(problem, texts.get(problem.id, "")) for problem in problems]
    errors = Counter(note.steps[note.first_error].kind for note in notes if note.first_error is not None)
    errors["answer"] = sum(note.first_error is None and not note.final_is_correct for note in notes)
    reasoned = [int(note.is_complete and note.first_error is None) for note in notes]
    return {"reasoned": "".join(map(str, reasoned)), "errors": dict(sorted(errors.items()))}


def practice_facts(lab: Lab, practice: Practice) -> dict[str, Any]:
    """What a row says of a practice: pairs, why problems gave none, difficulty, and how many chosen are rightly
    reasoned (primer knows the truth of each step)."""
    problems = {problem.id: problem for problem in lab.bench.train}
    texts = {completion.id: completion for completion in practice.completions}
    sides: dict[str, dict[str, bool]] = {"chosen": {}, "rejected": {}}
    for pair in practice.pairing.pairs:
        for side, name in (("chosen", pair.chosen_id), ("rejected", pair.rejected_id)):
            if name in texts:
                note = annotate_problem(problems[pair.problem_id], texts[name].text)
                sides[side][name] = note.first_error is None and note.is_complete
    groups = make_groups(practice.completions, practice.verdicts)
    return {
        "pairs": len(practice.pairing.pairs),
        "pairing": practice.pairing.counts,
        "difficulty": list(difficulty_histogram(groups)),
        "chosen": len(sides["chosen"]),
        "chosen_sound": sum(sides["chosen"].values()),
        "rejected": len(sides["rejected"]),
        "rejected_sound": sum(sides["rejected"].values()),
        "tokens": round(sum(len(c.token_ids) for c in practice.completions) / max(1, len(practice.completions)), 2),
    }


@contextmanager
def open_lab(world: World, seed: int) -> Iterator[Lab]:
    """A lab in a temporary run folder."""
    config = world.config(seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_bench(config, recipe=NAME, folder=Path(folder) / "run", progress=SilentProgress()) as bench,
    ):
        yield Lab(world, config, bench)


def timed(began: float) -> float:
    """CPU seconds of this process since `began`."""
    return round(time.process_time() - began, 1)
