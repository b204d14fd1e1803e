"""`tutelage demo`: the whole loop on the built-in model and problems; a CPU and a few minutes are enough."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RECIPE = "iterative-rpo"
DEMO: dict[str, str] = {
    "model": "primer",
    "data": "primer:train?n=300",
    "eval_data": "primer:test?n=1000",
    "eval_limit": "1000",
    "eval_samples": "8",
    "eval_sample_limit": "200",
    "iterations": "3",
    "num_samples": "8",
    "temperature": "1.0",
    "max_new_tokens": "96",
    "pairs_per_problem": "4",
    "learning_rate": "7e-5",
    "batch_size": "16",
    "epochs": "1",
    "max_batch": "128",
}
"""The settings of the demo, as they would stand on the command line."""


def demo(
    seed: Annotated[int, typer.Option(min=0, help="Everything random derives from it.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder.", show_default="runs/demo-seedN")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted demo.")] = False,
) -> None:
    """Practise with the built-in model and problems: sample, grade, pair, learn, measure, three times."""
    from tutelage.cli.recipes import find_recipe, load_recipe
    from tutelage.cli.run import RUNS, Plan, execute, unused
    from tutelage.cli.threads import configure_threads
    from tutelage.config.loading import load_settings

    configure_threads()
    wanted = output or RUNS / f"demo-seed{seed}"
    folder = wanted if resume else unused(wanted)
    if folder != wanted:
        typer.echo(f"{wanted} exists, so this demo goes to {folder}", err=True)
    info = find_recipe(RECIPE)
    module = load_recipe(info)
    words = [f"{key}={value}" for key, value in {**DEMO, "seed": str(seed)}.items()]
    config = load_settings(module.Config, overrides=words)
    again = ["tutelage", "demo", "--seed", str(seed), "--output", str(folder), "--resume"]
    execute(Plan(info, module, config, folder, resume, again))
