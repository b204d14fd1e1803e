"""What the recipe tests share: small configs, running them without a terminal, and the digest of what a run made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tutelage.cli.backends import open_bench
from tutelage.recipes import iterative_rpo, learn
from tutelage.recipes.progress import SilentProgress
from tutelage.store.run import Run

TIMINGS = ("seconds", "time_spent", "run_folder")


def without_timings(value: Any) -> Any:
    """A report without what may differ between two equal runs."""
    if isinstance(value, dict):
        return {k: without_timings(v) for k, v in value.items() if k not in TIMINGS}
    return [without_timings(v) for v in value] if isinstance(value, list) else value


def _results_of(folder: Path) -> dict[str, Any]:
    """Everything two equal runs must agree on: records as sets, weights by hash, the report without timings."""
    out: dict[str, Any] = {}
    for kind in ("completions", "verdicts", "pairs", "evaluations"):
        rows = [json.loads(line) for path in sorted((folder / kind).glob("*.jsonl")) for line in path.open()]
        out[kind] = sorted(json.dumps(without_timings(row), sort_keys=True) for row in rows)
    for path in sorted((folder / "checkpoints").rglob("*.safetensors")):
        out[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    out["report"] = without_timings(json.loads((folder / "report.json").read_text()))
    return out


@pytest.fixture
def results_of() -> Callable[[Path], dict[str, Any]]:
    """A function from a run folder to everything that two equal runs must agree on."""
    return _results_of


@pytest.fixture
def small_config() -> Callable[..., iterative_rpo.Config]:
    """A function that makes a config of two small iterations on primer, changed by keywords."""

    def make(**changes: Any) -> iterative_rpo.Config:
        settings: dict[str, Any] = dict(
            model="primer", data="primer:train?n=24", eval_data="primer:dev?n=16", iterations=2, num_samples=4,
            temperature=1.0, max_new_tokens=64, pairs_per_problem=2, learning_rate=3e-4, batch_size=8, epochs=1.0,
            eval_samples=4, eval_sample_limit=8, max_batch=32, checkpoint_every=1,
        )  # fmt: skip
        return iterative_rpo.Config(**{**settings, **changes})

    return make


@pytest.fixture
def run_recipe() -> Callable[..., dict[str, Any]]:
    """A function `(config, folder, resume=False) -> report`."""

    def run(config: iterative_rpo.Config, folder: Path, *, resume: bool = False) -> dict[str, Any]:
        with open_bench(
            config, recipe=iterative_rpo.NAME, folder=folder, progress=SilentProgress(), resume=resume
        ) as bench:
            return iterative_rpo.run(config, bench)

    return run


@pytest.fixture
def interrupted_in_learning(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AbstractContextManager[None]]:
    """A context `(step, stage="")` in which the step of a training of that name ends in KeyboardInterrupt."""
    shown = learn.show_steps

    @contextmanager
    def until(step: int, stage: str = "") -> Iterator[None]:
        def bomb(config: Any, bench: Any, name: str, *rest: Any) -> Any:
            on_step = shown(config, bench, name, *rest)

            def cut(metrics: Any) -> None:
                on_step(metrics)
                if metrics.step == step and stage in name:
                    raise KeyboardInterrupt

            return cut

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(learn, "show_steps", bomb)
            yield

    return until


@pytest.fixture
def interrupted_at_rows(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AbstractContextManager[None]]:
    """A context `(count, *names)` in which the count-th row of metrics of these names ends in KeyboardInterrupt."""
    original = Run.metrics

    @contextmanager
    def until(count: int, *names: str) -> Iterator[None]:
        left = count

        def cut(self: Run, name: str, values: Any, **where: Any) -> None:
            nonlocal left
            original(self, name, values, **where)
            left -= name in names
            if left == 0:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Run, "metrics", cut)
            yield

    return until


@pytest.fixture
def pens_file(tmp_path: Path) -> Path:
    """Six problems with worked solutions of two steps, as GSM8K has them."""
    path = tmp_path / "own.jsonl"
    rows = [
        {"question": f"Tim has {a} pens and gets {b} more. How many?",
         "answer": f"He had {a}.\nHe has {a + b}.\n#### {a + b}"}
        for a in (2, 3, 4) for b in (3, 9)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
