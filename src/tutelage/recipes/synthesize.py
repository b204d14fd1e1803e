"""Synthetic problems: Self-Instruct (arXiv 2212.10560) for mathematics, as the 360 talk (2024) uses it.

    pool = seed problems by field (a taxonomy with keywords, a TOML file)
    for t = 1, 2, ... until `num_problems` are kept:
        1. ask: continue a list of 6 human and 2 machine problems of a field (`new`); the same around drawn keywords
           (`keywords`); make a problem harder (`harder`)
        2. write: sample the lists, read their items
        3. drop by form: length, banned words, beginnings
        4. drop what is like anything in the pool or before it: ROUGE-L F > 0.7, or Jaccard of word 3-grams > 0.7
        5. drop what is a test question
        6. solve: sample N solutions; the answer is the majority's, and a question on which too few agree is dropped
        7. what is left joins the machine problems
    write the problems, with their agreement and one of the solutions that agree, as data; and a card

Deviations: fields, keywords, harder problems and personas are not in Self-Instruct; its classes of tasks and its
instances have no use here: a problem's "instance" is its answer, by agreement. Its presence penalty of 2 is left out,
since few samplers have one; its stop text "16." only counts at the start of a line, since prices hold it too. Chat
models get one turn instead of a text to go on with. The built-in model writes from keywords alone and is shown no
examples (`synthesis_primer`). Nothing is dropped without its reason: `candidates` holds every question and its fate.

Cost: rounds x (asks_per_round lists + solve_samples solutions for each question that passes steps 3 to 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import model_validator

from tutelage.config.settings import GradingSettings, ModelSettings, RunSettings, SamplerSettings, setting
from tutelage.config.taxonomy import load_taxonomy
from tutelage.problems import load_problems
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench
from tutelage.recipes.estimate import Workload
from tutelage.recipes.flow_stage import run_flows
from tutelage.recipes.synthesis_asking import PromptWriter, Writer
from tutelage.recipes.synthesis_primer import PrimerWriter, ignored
from tutelage.recipes.synthesis_records import KEPT, Ask, Candidate
from tutelage.recipes.synthesis_report import dropped, figures, problem_of, remarks, write_data
from tutelage.recipes.synthesis_sieve import Sieve, bare_problem, nothing_kept, read_candidates
from tutelage.recipes.synthesis_solutions import solution_figures
from tutelage.records import OUTCOMES, Completion, Problem, SamplingParams, digest, record_id, seed_of
from tutelage.sampling.flows import Flow
from tutelage.sampling.session import SampleRequest
from tutelage.selection.questions import BANNED, FEWEST_WORDS, MOST_WORDS

NAME = "synthesize"
SELF_INSTRUCT = "arXiv 2212.10560"
CODE = "yizhongw/self-instruct, bootstrap_instructions.py"


class Config(GradingSettings, ModelSettings, SamplerSettings, RunSettings):
    """Settings of problem synthesis."""

    takes_seeds: ClassVar[bool] = True

    data: str = setting(..., "Seed problems: a name, a file, or `format:path`; rows need no answers.")
    data_limit: int | None = setting(None, "Most seeds taken from `data`; none is all.", unit="problems", ge=1)
    num_problems: int = setting(1000, "Rounds end when so many are kept.", unit="problems", ge=1)
    max_rounds: int = setting(50, "Most rounds.", ge=1)
    asks_per_round: int = setting(64, "Lists asked for in a round.", ge=1)
    taxonomy: str | None = setting(None, "TOML file of fields and keywords; none is the packaged one.")
    fields: list[str] = setting([], "Fields of the taxonomy that are written of; none named is all of them.")
    human_demos: int = setting(6, "Seed problems in a prompt.", source=f"{CODE}: 6", ge=1, le=64)
    machine_demos: int = setting(2, "Earlier written problems in a prompt.", source=f"{CODE}: 2", ge=0, le=64)
    list_length: int = setting(16, "The list is asked for up to this number.", source=f"{CODE}: 16", ge=2, le=200)
    keyword_share: float = setting(0.3, "Share of requests with keywords.", source="ours", ge=0, le=1)
    keywords_per_ask: int = setting(2, "Keywords drawn for one request.", ge=1, le=10)
    harder_share: float = setting(0.2, "Share of requests that make a problem harder.", ge=0, le=1)
    persona_share: float = setting(0.0, "Share of requests that name a persona.", ge=0, le=1)
    temperature: float = setting(0.7, "Temperature of writing.", source=f"{CODE}: 0.7", gt=0, le=5)
    top_p: float = setting(0.5, "Nucleus of writing.", source=f"{CODE}: 0.5", gt=0, le=1)
    write_tokens: int = setting(1024, "Longest list.", unit="tokens", source=f"{CODE}: 1024", ge=1)
    fewest_words: int = setting(FEWEST_WORDS, "Questions of so few words are dropped.", source=f"{CODE}: 3", ge=0)
    most_words: int = setting(MOST_WORDS, "Questions of more are dropped.", source=f"{CODE}: 150", ge=1)
    banned: list[str] = setting(list(BANNED), "Questions with these words are dropped.", source=CODE)
    rouge_l: float = setting(0.7, "ROUGE-L F above which two are one.", source=f"{SELF_INSTRUCT} §2.2", gt=0, le=1)
    jaccard: float = setting(0.7, "Jaccard index of word n-grams above which they are.", gt=0, le=1)
    ngram: int = setting(3, "Words of such a gram.", ge=1, le=10)
    against: list[str] = setting([], "Test data whose questions may not be among the written ones.")
    near: float = setting(0.8, "ROUGE-L F above which, numbers equal, a question is a test question.", gt=0, le=1)
    contamination_ngram: int = setting(13, "Words of a run.", source="arXiv 2005.14165, appendix C", ge=2, le=50)
    contamination_share: float = setting(0.5, "Share of a test question's runs that make it one.", gt=0, le=1)
    solver: str | None = setting(None, "Model that solves; none is the one that writes. `server:URL` is one too.")
    solve_samples: int = setting(8, "Solutions sampled of a question.", ge=1, le=1000)
    solve_temperature: float = setting(0.7, "Temperature of solving.", gt=0, le=5)
    max_new_tokens: int = setting(512, "Longest solution.", unit="tokens", ge=1)
    min_agreement: float = setting(0.5, "Share of the solutions that must give the same answer.", gt=0, le=1)

    @model_validator(mode="after")
    def _shares_fit(self) -> Config:
        if self.keyword_share + self.harder_share > 1:
            raise ValueError("keyword_share and harder_share are shares of the same requests: at most 1 together")
        if self.list_length <= self.human_demos + self.machine_demos:
            raise ValueError("list_length must be more than human_demos + machine_demos: the rest is what is written")
        return self

    def workload(self, num_train: int, num_test: int) -> Workload:
        """The work of one round; how many are needed is not known before."""
        per_list = self.list_length - self.human_demos - self.machine_demos
        return Workload(self.asks_per_round * (1 + per_list * self.solve_samples), 0, 0, 1)


def run(config: Config, bench: Bench) -> dict[str, Any]:
    """Run the recipe; returns the report, which is also in the run folder.

    Raises:
        InputError: a taxonomy, field or test data set that cannot be used.
        NothingToLearn: the first round wrote nothing, or all of it was dropped.
    """
    writer = make_writer(config, bench)
    test = [problem for name in config.against for problem in load_problems(name)]
    sieve = Sieve(config, bench.train, test)
    solver = bench.invite(config.solver) if config.solver else bench
    found: list[Candidate] = []
    machine: list[Problem] = []
    for t in range(1, config.max_rounds + 1):
        asks = writer.plan(t, machine)
        written = write(config, bench, asks, t)
        fresh = [c for ask in asks for c in read_candidates(ask, written[ask.id], t)]
        fresh = solve(config, solver, sieve, sieve.sift(fresh), t)
        bench.run.append_many("candidates", fresh)
        found += fresh
        kept = [problem_of(candidate) for candidate in fresh if candidate.fate == KEPT]
        machine += kept
        tell_round(bench, fresh, t, len(machine), len(written))
        if len(machine) >= config.num_problems or not kept:
            break
    return finish(config, bench, found, machine)


def make_writer(config: Config, bench: Bench) -> Writer:
    """Who plans the requests: for the built-in model its own, else one with the taxonomy's fields.

    Raises:
        InputError: taxonomy or fields cannot be used. They are checked for the built-in model too, on which they have
            no effect: that is told.
    """
    taxonomy = load_taxonomy(config.taxonomy).only(config.fields)
    if bench.prompter.form != "primer":
        return PromptWriter(config, taxonomy, bench.prompter, bench.train)
    if names := ignored(config):
        bench.progress.note(
            f"warning: no effect on the built-in model, which writes word problems from a line of keywords alone: "
            f"{', '.join(names)}"
        )
    return PrimerWriter(config, bench.prompter, bench.train)


def write(config: Config, bench: Bench, asks: Sequence[Ask], t: int) -> dict[str, Completion]:
    """Step 2: one completion of each request, by the request's id."""
    params = SamplingParams(config.temperature, config.top_p, max_new_tokens=config.write_tokens)
    params = replace(params, stop_token_ids=bench.prompter.stop_token_ids)
    what = [[ask.id, ask.prompt.ids, ask.stop] for ask in asks]
    stage = digest(["write", t, what, params.to_json(), config.seed, bench.base.lineage])

    def flow(ask: Ask) -> Flow[Completion]:
        answer: Completion = yield SampleRequest(
            id=record_id(stage, ask.id), problem_id=ask.id, prompt_ids=ask.prompt.ids, role="problem", stage=stage,
            params=replace(params, stop=ask.stop), seed=seed_of(config.seed, "write", ask.id),
            adapter=bench.base.policy.adapter, version=bench.base.policy.version, messages=ask.prompt.messages,
            prompt_text=ask.prompt.text,
            metadata={"mode": ask.mode, "field": ask.field, "keywords": list(ask.keywords), "is_list": ask.is_list,
                      "is_begun": ask.is_begun, "question": "", "answer": ""},
        )  # fmt: skip
        return answer

    flows = [(ask.id, flow(ask)) for ask in asks]
    done = run_flows(bench, f"it{t}-write", stage, flows, {"": (bench, bench.base)})
    return {ask.id: done[ask.id] for ask in asks}


def solve(config: Config, solver: Bench, sieve: Sieve, candidates: list[Candidate], t: int) -> list[Candidate]:
    """Step 6: the candidates that passed so far get an answer, or the reason why not."""
    problems = [bare_problem(candidate) for candidate in candidates if candidate.fate == KEPT]
    if not problems:
        return candidates
    params = SamplingParams(config.solve_temperature, max_new_tokens=config.max_new_tokens)
    plan = stages.SamplingPlan(f"it{t}-solve", params, config.solve_samples, config.seed, round=t)
    by_problem: dict[str, list[Completion]] = {}
    for completion in stages.sample(solver, solver.base, problems, plan):
        by_problem.setdefault(completion.problem_id, []).append(completion)
    return [
        sieve.judged(candidate, by_problem[candidate.problem_id]) if candidate.fate == KEPT else candidate
        for candidate in candidates
    ]


def tell_round(bench: Bench, fresh: Sequence[Candidate], t: int, total: int, written: int) -> None:
    """Journal and show what a round gave.

    Raises:
        NothingToLearn: it is the first, and nothing was kept.
    """
    kept, reasons = sum(candidate.fate == KEPT for candidate in fresh), dropped(fresh)
    bench.run.metrics("synthesis", {"questions": len(fresh), "kept": kept, **reasons}, round=t)
    bench.progress.status(kept=total)
    if kept:
        return
    failure = nothing_kept(written, fresh, reasons)
    if t == 1:
        raise failure
    bench.progress.note(f"stopped after round {t}, which kept nothing: {failure}")


def finish(config: Config, bench: Bench, found: Sequence[Candidate], machine: Sequence[Problem]) -> dict[str, Any]:
    """Write data, card and report."""
    counts = figures(found, bench.train, is_primer=bench.prompter.form == "primer")
    counts["solutions"] = solution_figures(machine)
    if len(machine) < config.num_problems:
        bench.progress.note(f"{len(machine)} of {config.num_problems} problems were made: raise max_rounds for more")
    write_data(bench, machine, counts, config)
    bench.run.append_many("problems", machine)
    bench.run.metrics("time_spent", bench.spent.report())
    report = {
        "recipe": NAME, "model": config.model, "sampler": config.sampler, "seed": config.seed,
        "seconds": round(bench.spent.total(), 3), "iterations": [], "paired_test": None,
        "outcomes": dict.fromkeys(OUTCOMES, 0), "alarms": [], "time_spent": bench.spent.report(),
        "synthesis": counts, "remarks": remarks(counts, str(bench.run.path)),
        "run_folder": bench.run.path.name,
    }  # fmt: skip
    bench.run.write_report(report)
    return report
