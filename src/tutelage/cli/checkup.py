"""The work of `tutelage doctor`: each part is tried, not only imported, and says what it found."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import typer

from tutelage.cli.failures import TRAIN_PACKAGES
from tutelage.cli.plain_text import printable
from tutelage.errors import TutelageError
from tutelage.records import Problem
from tutelage.store import provenance

GIB = 2**30
LOW_DISK = 2 * GIB
OPTIONAL = {"pyarrow": "parquet files", "tensorboard": "report_to=tensorboard", "wandb": "report_to=wandb",
            "trackio": "report_to=trackio"}  # fmt: skip
PROBLEM = Problem("doctor", "Ann has 3 apples and buys 4 more. How many has she?", "7", solution="3 + 4 = 7")


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Args:
        name: of the part.
        state: `ok`, `missing` (optional, not installed), `low` (works, but look at it) or `failed`.
        detail: what was found, in words.
    """

    name: str
    state: Literal["ok", "missing", "low", "failed"]
    detail: str


def print_checkup(model: str) -> bool:
    """Run all checks, print each as it is done, and show the prompt of `model`.

    Returns:
        Whether nothing failed.
    """
    findings = []
    for finding in check_all():
        findings.append(finding)
        typer.echo(f"{finding.state:<8}{finding.name:<12}{finding.detail}")
    typer.echo("")
    with _told(findings):
        typer.echo("\n".join(prompt_lines(model)))
    failed = [finding.name for finding in findings if finding.state == "failed"]
    missing = [finding.name for finding in findings if finding.state == "missing" and finding.name not in OPTIONAL]
    if failed:
        typer.echo(f"\n{', '.join(failed)} failed")
    elif missing:
        typer.echo(f"\nwhat needs no model works; {', '.join(missing)}: pip install 'tutelage[train]'")
    else:
        typer.echo("\neverything that tutelage needs works")
    return not failed


def check_all() -> Iterator[Finding]:
    """All checks, cheapest first."""
    versions = provenance.versions()
    yield Finding("versions", "ok", ", ".join(f"{name} {version or '-'}" for name, version in versions.items()))
    yield _machine()
    yield _disk(Path.cwd())
    checks: dict[str, Callable[[], str]] = {
        "devices": _devices, "grading": _grading, "run folder": _run_folder, "sampling": _sampling,
        "learning": _learning,
    }  # fmt: skip
    for name, check in checks.items():
        yield _tried(name, check)
    yield _sandbox()
    for package, purpose in OPTIONAL.items():
        yield _optional(package, purpose)


def prompt_lines(model: str) -> list[str]:
    """A rendered prompt and its target, with the token that the model is trained to stop with.

    Args:
        model: as in `model=`.

    Raises:
        TutelageError: the model's tokenizer cannot be used.
    """
    from tutelage.cli.evaluation import EvalSettings
    from tutelage.cli.seats import take_seat
    from tutelage.cli.splits import Splits
    from tutelage.problems import load_problems

    problem = load_problems("primer:train?n=1")[0] if model == "primer" else PROBLEM
    config = EvalSettings(model=model, data="primer")
    prompter = take_seat(config, Splits([], [], [], [problem], [])).prompter
    *target, stop = prompter.target_ids(problem)
    ends = ", ".join(_token(prompter.tokenizer, number) for number in prompter.stop_token_ids)
    return [
        f"prompt of {model} ({prompter.form} form, {len(prompter.render(problem).ids)} tokens):",
        *(f"  | {printable(line)}" for line in prompter.render(problem).text.splitlines()),
        "what it is trained to answer:",
        *(f"  | {printable(line)}" for line in prompter.tokenizer.decode(target).splitlines()),
        f"and then to stop with: {_token(prompter.tokenizer, stop)}; sampling ends at {ends}",
    ]


def _token(tokenizer: Any, number: int) -> str:
    return f"{printable(str(tokenizer.convert_ids_to_tokens(number)))} (token {number})"


def _machine() -> Finding:
    machine = provenance.machine()
    memory = machine["memory_bytes"]
    shown = f"{memory / GIB:.1f} GiB memory" if memory else "unknown memory"
    threads = os.environ.get("OMP_NUM_THREADS", "?")
    return Finding("machine", "ok", f"{machine['cpu']}, {machine['cores']} cores, {shown}, {threads} thread in use")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    return Finding("disk", "ok" if free > LOW_DISK else "low", f"{free / GIB:.1f} GiB free in {folder}")


def _sandbox() -> Finding:
    """Which tier holds here; that none does is no failure, as most of tutelage runs no programs."""
    from tutelage.sandbox import open_sandbox

    began = time.perf_counter()
    try:
        with open_sandbox(preload=()) as sandbox:
            return Finding("sandbox", "ok", f"{sandbox.tier} holds ({time.perf_counter() - began:.1f} s)")
    except TutelageError as error:
        return Finding("sandbox", "low", str(error).replace("\n", "; "))


def _tried(name: str, check: Callable[[], str]) -> Finding:
    """A check's finding. The named boundary: whatever a part raises is what is wrong with it."""
    began = time.perf_counter()
    try:
        detail = check()
    except ModuleNotFoundError as error:
        if error.name not in TRAIN_PACKAGES:
            return Finding(name, "failed", str(error))
        return Finding(name, "missing", f"needs {error.name}: pip install 'tutelage[train]'")
    except Exception as error:
        return Finding(name, "failed", f"{type(error).__name__}: {error}")
    return Finding(name, "ok", f"{detail} ({time.perf_counter() - began:.1f} s)")


@contextlib.contextmanager
def _told(findings: list[Finding]) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        typer.echo(f"no prompt is shown, as {error.name} is not installed")
    except TutelageError as error:
        findings.append(Finding("prompt", "failed", str(error)))
        typer.echo(f"failed  prompt      {error}")


def _devices() -> str:
    import torch

    if not torch.cuda.is_available():
        return "CPU only; no GPU that torch can use"
    found = [torch.cuda.get_device_properties(place) for place in range(torch.cuda.device_count())]
    return ", ".join(f"{device.name} with {device.total_memory / GIB:.0f} GiB" for device in found)


def _grading() -> str:
    from tutelage.grading.checker import check

    told = [check(r"\frac{1}{2}", answer).equivalent for answer in ("0.5", "2/4", "0.51")]
    if told != [True, True, False]:
        raise AssertionError(f"1/2 against 0.5, 2/4 and 0.51 gave {told}")
    return "equal answers found equal, a wrong one wrong"


def _run_folder() -> str:
    from tutelage.store.run import Run

    with tempfile.TemporaryDirectory(prefix="tutelage-doctor-", dir=Path.cwd()) as scratch:
        with Run.create(Path(scratch) / "run", recipe="doctor", config={}, seed=0) as run:
            run.append("problems", PROBLEM)
        if list(Run.open(Path(scratch) / "run").read("problems", Problem)) != [PROBLEM]:
            raise AssertionError("a record did not come back as it was written")
    return "a record written here and read back"


def _sampling() -> str:
    from tutelage.primer import model_path
    from tutelage.records import SamplingParams
    from tutelage.sampling.local import LocalSampler
    from tutelage.sampling.session import SampleRequest

    session = LocalSampler.open(model_path())
    try:
        prompt = tuple(session.tokenizer("3 + 4 =", add_special_tokens=False)["input_ids"])
        session.submit(SampleRequest("doctor", "doctor", prompt, SamplingParams(0.0, max_new_tokens=8), seed=0))
        completion = next(session.completions())
    finally:
        session.close()
    if completion.finish_reason == "error":
        raise AssertionError(completion.note)
    return f"{len(completion.token_ids)} tokens drawn from primer"


def _learning() -> str:
    import torch

    for package in ("peft", "safetensors"):
        importlib.import_module(package)
    weight = torch.nn.Parameter(torch.ones(2))
    (weight**2).sum().backward()
    if weight.grad is None or weight.grad.tolist() != [2.0, 2.0]:
        raise AssertionError(f"the gradient of x^2 at 1 is {weight.grad}")
    return "a gradient, peft and safetensors"


def _optional(package: str, purpose: str) -> Finding:
    """An optional package, by importing it; some fail on import although they are installed."""
    try:
        module = importlib.import_module(package)
    except ImportError:
        return Finding(package, "missing", f"not installed; only needed for {purpose}")
    except Exception as error:  # a guest package may raise anything when it is imported
        return Finding(package, "failed", f"{type(error).__name__}: {error}")
    return Finding(package, "ok", str(getattr(module, "__version__", "installed")))
