"""Windows of the stream: problems grown into trees side by side under one version of both models, and recorded.

A window whose trees are in the run folder is read from there; of another, recorded completions and verdicts are taken
as they are and only the rest is made. So a run that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tutelage.evaluation.results import EvaluationResult
from tutelage.evaluation.strategies import Strategy, StrategyResult, score_strategy
from tutelage.recipes import flow_records, flow_trees
from tutelage.recipes.bench import Bench
from tutelage.recipes.flow_chain import FlowSettings, ProductionFlow
from tutelage.recipes.flow_prompts import StopPrompter
from tutelage.recipes.flow_records import FlowTree, GrownTree
from tutelage.recipes.flow_sessions import ComparingSession
from tutelage.recipes.flow_trees import RolloutSettings, Tree
from tutelage.records import Completion, Policy, PreferencePair, Problem, Verdict, digest, record_id
from tutelage.sampling.recording import RecordingSession
from tutelage.sampling.session import SamplerSession
from tutelage.text.prompts import tokenizer_digest


@dataclass(frozen=True)
class Models:
    """The two models at the versions that a window is grown under, and the digest of how they came to be."""

    answer: Policy
    stop: Policy
    lineage: str


class Grower:
    """Grows windows on one sampler session.

    Args:
        bench: problems' prompts, grader, run folder.
        session: samples both models.
        stop_prompter: makes Stop's prompts.
        settings: how the flow is run.
        rollouts: where trees branch.
        stop_decision: `sample` draws Stop's reply; `compare` takes the likelier of its two words.
    """

    def __init__(
        self,
        bench: Bench,
        session: SamplerSession,
        *,
        stop_prompter: StopPrompter,
        settings: FlowSettings,
        rollouts: RolloutSettings,
        stop_decision: Literal["sample", "compare"],
    ) -> None:
        self.bench, self.session, self.stop_prompter = bench, session, stop_prompter
        self.settings, self.rollouts, self.stop_decision = settings, rollouts, stop_decision
        self._recorded = {tree.id: tree for tree in bench.run.read("flow_trees", FlowTree)}
        self._is_resumed = bool(bench.run.ids("completions"))
        self._pairs = {p.id: p for p in bench.run.read("pairs", PreferencePair)} if self._recorded else {}

    def window(self, number: int, problems: Sequence[Problem], models: Models) -> list[GrownTree]:
        """The trees of a window in the order of its problems, with their verdicts and pairs, all recorded.

        Args:
            number: of the window, from 1.
            problems: its problems.
            models: which weights write and judge.
        """
        stage = digest(["window", number, self._how(), models.lineage, self._asked(problems)])
        known = [self._recorded.get(record_id(stage, problem.id)) for problem in problems]
        if all(known):
            return [GrownTree(t, (), tuple(self._pairs[i] for i in t.pair_ids)) for t in known if t is not None]
        trees = [Tree(self._flow(p, models, stage, "flow"), self.rollouts) for p in problems]
        verdicts = self._grown(trees, stage)
        made = [flow_records.make_records(tree, verdicts, window=number) for tree in trees]
        run = self.bench.run
        run.append_many("pairs", [pair for tree in made for pair in tree.pairs])
        run.append_many("flow_nodes", [node for tree in made for node in tree.nodes])
        run.append_many("flow_trees", [tree.tree for tree in made])
        return made

    def answers(
        self, name: str, problems: Sequence[Problem], models: Models
    ) -> tuple[list[Completion], dict[str, Verdict]]:
        """A whole answer to each problem and the verdicts by id; recorded, and not drawn again under the same name.

        Args:
            name: of the stage; other names draw differently.
            problems: what is answered.
            models: which weights write and judge.
        """
        stage = digest(["answers", name, self._how(), models.lineage, self._asked(problems)])
        with self.bench.run.stage(name, stage) as journal:
            trees = [Tree(self._flow(p, models, stage, name), RolloutSettings(0)) for p in problems]
            verdicts = self._grown(trees, stage)
            journal.result.update(answers=len(trees))
        found = [flow_records.whole_answer(tree.flow, tree.main) for tree in trees if tree.main is not None]
        return found, verdicts

    def evaluate(self, name: str, problems: Sequence[Problem], models: Models, *, data: str) -> StrategyResult:
        """Accuracy of the flow's main chains on `problems`, recorded as evaluation results.

        Args:
            name: prefix of the stage, e.g. "it0".
            problems: what is answered.
            models: which weights write and judge.
            data: name of the data, for the records.
        """
        answers, verdicts = self.answers(f"{name}-flow", problems, models)
        result = score_strategy(Strategy("greedy"), problems, answers, verdicts)
        self.bench.run.append_many(
            "evaluations",
            [
                EvaluationResult(
                    record_id(a.stage, a.problem_id), name, "flow", data, a.problem_id,
                    result.per_problem[a.problem_id], (a.id,),
                )
                for a in answers
                if a.problem_id in result.per_problem
            ],
        )  # fmt: skip
        return result

    def _how(self) -> list[object]:
        """What of the settings makes other trees."""
        return [self.settings.__dict__, self.rollouts.__dict__, self.stop_decision, self.stop_prompter.judgement]

    def _asked(self, problems: Sequence[Problem]) -> list[list[object]]:
        """Problems with their prompts, so that changed data are never taken for what was sampled."""
        return [[problem.id, self.bench.prompter.render(problem).ids] for problem in problems]

    def _flow(self, problem: Problem, models: Models, stage: str, name: str) -> ProductionFlow:
        prompt = self.bench.prompter.render(problem)
        return ProductionFlow(
            problem, prompt, self.stop_prompter, self.settings, models.answer, models.stop, stage, name
        )

    def _grown(self, trees: Sequence[Tree], stage: str) -> dict[str, Verdict]:
        """Grow the trees; the verdicts on all their whole answers, by id."""
        run, spent = self.bench.run, self.bench.spent
        with spent.on("sampling"):
            session = self._recording(stage)
            flow_trees.grow(trees, session)
            session.flush()
        todo: dict[str, tuple[Problem, Completion]] = {}
        for tree in trees:
            for chain in (tree.main, *(rollout.chain for rollout in tree.rollouts)):
                assert chain is not None
                answer = flow_records.whole_answer(tree.flow, chain)
                todo[answer.id] = (tree.flow.problem, answer)
        forced = [rollout.forced for tree in trees for rollout in tree.rollouts if rollout.forced is not None]
        run.append_many("completions", [*forced, *(answer for _, answer in todo.values())])
        with spent.on("grading"):
            return self._judged(todo)

    def _recording(self, stage: str) -> RecordingSession:
        run = self.bench.run
        have: dict[str, Completion] = {}
        if self._is_resumed:  # until a stage is met that an earlier session had not begun
            have = {c.id: c for c in run.read("completions", Completion, containing=stage) if c.stage == stage}
            self._is_resumed = bool(have)
        if self.stop_decision == "sample":
            return RecordingSession(self.session, run, have)
        digest_of = tokenizer_digest(self.bench.prompter.tokenizer)
        return ComparingSession(self.session, run, have, stop_prompter=self.stop_prompter, tokenizer_digest=digest_of)

    def _judged(self, todo: dict[str, tuple[Problem, Completion]]) -> dict[str, Verdict]:
        run = self.bench.run
        known = run.ids("verdicts") & todo.keys()
        recorded = run.read("verdicts", Verdict) if known else ()
        verdicts = {v.completion_id: v for v in recorded if v.completion_id in known}
        missing = [entry for key, entry in todo.items() if key not in verdicts]
        made = flow_records.judge(self.bench.grader, missing)
        run.append_many("verdicts", made)
        return verdicts | {v.completion_id: v for v in made}
