"""`tutelage eval`: how good a model is on a data set, under one or more strategies, with intervals and costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

OPTIONS = (
    "--data", "--strategy", "--critic", "--reward-model", "--curve", "--limit", "--output", "--seed", "--resume",
    "--help",
)  # fmt: skip
ADVICE = "`tutelage eval --help` and docs/config.md tell of all settings"


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="`primer`, a model or adapter folder (RUN/checkpoints/it3), a run (its last checkpoint), a hub name.",
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Further settings, e.g. temperature=0.6 max_new_tokens=1024."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="A name, a file, or `format:path`.", show_default="required")
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            "--strategy",
            "-s",
            help="A way to answer (docs/strategies.md); may be given again.",
            show_default="greedy",
        ),
    ] = None,
    critic: Annotated[
        str | None, typer.Option("--critic", help="Model that criticises answers.", show_default="none")
    ] = None,
    reward_model: Annotated[
        str | None, typer.Option("--reward-model", help="Folder of a reward model.", show_default="none")
    ] = None,
    curve: Annotated[
        bool, typer.Option("--curve", help="Also the value for every smaller k: in report.json, and as curves.svg.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Most problems.", show_default="all")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to keep it in.", show_default="runs/eval-MODEL-TIME")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Everything random derives from it.", show_default="0")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the evaluation in --output.")] = False,
) -> None:
    """Measure a model: tutelage eval primer --data primer:test -s greedy -s maj@8."""
    from tutelage.cli.run import refuse_unknown_options
    from tutelage.cli.threads import configure_threads
    from tutelage.config.loading import load_settings

    words = settings or []
    refuse_unknown_options(words, options=OPTIONS)
    configure_threads()
    from tutelage.cli.evaluation import EvalSettings, run_evaluation

    given = {"model": model, "data": data, "data_limit": limit, "output_dir": output, "seed": seed,
             "critic": critic, "reward_model": reward_model, "curve": curve or None}  # fmt: skip
    words = [*words, *(f"{key}={value}" for key, value in given.items() if value is not None)]
    if strategy:
        words.append(f"strategies={','.join(strategy)}")
    config = load_settings(EvalSettings, overrides=words, advice=ADVICE)
    run_evaluation(config, words=words, resume=resume)
