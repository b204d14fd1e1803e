"""Sampling with programs as a stage of a run: as `stages.sample`, but programs run, and their outputs are put in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from tutelage.config.settings import ProgramSettings
from tutelage.recipes import stages
from tutelage.recipes.bench import Bench, Weights
from tutelage.recipes.flow_stage import run_flows
from tutelage.recipes.styles import styled
from tutelage.records import Completion, Problem, digest
from tutelage.sampling.executing import ProgramRunner
from tutelage.sampling.programs import Solved, paused, solve
from tutelage.sandbox import Limits, open_sandbox
from tutelage.store.run import Run
from tutelage.text.programs import Asked


def open_runner(config: ProgramSettings, run: Run) -> ProgramRunner:
    """What runs programs under these settings; close it. The sandbox is opened when the first program comes."""
    workers = config.program_workers
    opening = partial(open_sandbox, tier=config.sandbox, workers=workers)
    return ProgramRunner(run, opening, limits_of(config), workers=workers)


def limits_of(config: ProgramSettings) -> Limits:
    """The limits of one program, in seconds, bytes and counts.

    Raises:
        InputError: a limit is beyond all measure.
    """
    return Limits(
        wall_seconds=config.program_seconds,
        cpu_seconds=config.program_cpu or config.program_seconds,
        memory_bytes=int(config.program_memory * 2**30),
        processes=config.program_threads,
        file_bytes=int(config.program_file_size * 2**20),
        scratch_bytes=int(config.program_scratch * 2**20),
        scratch_files=config.program_files,
        output_bytes=int(config.program_output * 2**10),
    )


def sample_styled(
    bench: Bench,
    weights: Weights,
    problems: Sequence[Problem],
    plan: stages.SamplingPlan,
    *,
    style: Asked,
    runner: ProgramRunner,
    max_programs: int = 4,
) -> list[Completion]:
    """Solutions in a style, in canonical order; each is one record, whose outputs are `tool` segments.

    Grade them with `styled(bench, style)`, whose grader takes a program's result as its answer.

    Args:
        style: what is asked for; `cot` is `stages.sample`, which runs nothing.
        runner: runs programs; executions are recorded, and not run again when the stage is resumed.
        max_programs: most programs of one solution.
    """
    if style == "cot":
        return stages.sample(bench, weights, problems, plan)
    asking = styled(bench, style)
    requests = [paused(request, style) for request in stages.requests_for(asking, weights, problems, plan)]
    stage = digest(["solve", style, max_programs, runner.limits.to_json(), [r.stage for r in requests[:1]]])
    tokenizer = asking.prompter.tokenizer
    flows = [
        (r.id, solve(replace(r, stage=stage), tokenizer, style=style, max_programs=max_programs)) for r in requests
    ]
    solved: dict[object, Solved] = run_flows(
        bench, plan.name, stage, flows, {"actor": (bench, weights)}, around=runner.around
    )
    completions = [one.completion for one in solved.values()]
    bench.run.append_many("completions", completions)
    return completions
