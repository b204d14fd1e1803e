"""`tutelage run`: a recipe with its settings, from the words on the command line to the printed report.

What a recipe does is not known here, nor which backend samples: `cli/backends.py` picks that by name.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli.unbegun import unless_unbegun
from tutelage.errors import ConfigError, ModelError, NothingToLearn, RunError, RunFailed, TutelageError

if TYPE_CHECKING:
    from tutelage.recipes import RecipeInfo

OPTIONS = ("--config", "--resume", "--dry-run", "--help")
RUNS = Path("runs")
BUILT_IN = "primer"
TIME_FORMAT = "%Y%m%d-%H%M%S"
TIME_PATTERN = re.compile(r"\d{8}-\d{6}(-\d+)?")


def run(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="The recipe; `tutelage recipes` lists them.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings; they win over the file's, later ones over earlier."),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="A TOML file of settings.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in output_dir, or the newest.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the settings and what the run would cost; write nothing.")
    ] = False,
) -> None:
    """Run a recipe: tutelage run iterative-rpo model=MODEL data=gsm8k:FOLDER."""
    from tutelage.cli.recipes import find_recipe, load_recipe
    from tutelage.cli.threads import configure_threads
    from tutelage.config.loading import load_settings, to_toml

    words = settings or []
    info = find_recipe(recipe)
    refuse_unknown_options(words)
    configure_threads()
    from tutelage.cli.guests import with_checkpoints  # after the threads: it imports torch

    module = load_recipe(info)
    loaded, taken = with_checkpoints(load_settings(module.Config, file=config, overrides=words))
    if dry_run:
        for note in taken.values():
            typer.echo(note, err=True)
        typer.echo(to_toml(loaded), nl=False)
        _print_estimate(loaded)
        return
    file_words = ["-c", str(config)] if config is not None else []
    folder = choose_folder(info.name, loaded.output_dir, loaded.model, resume=resume)
    kept = settled_words(words, loaded, taken, but="output_dir")
    again = ["tutelage", "run", info.name, *file_words, *kept, f"output_dir={folder}"]
    execute(Plan(info, module, loaded, folder, resume, [*again, "--resume"], tuple(taken.values())))


@dataclass(frozen=True)
class Plan:
    """A run that is about to be made.

    Args:
        info, module: the recipe.
        config: its settings, loaded.
        folder: the run folder.
        resume: whether the folder is there already and to be gone on with.
        again: the words of the command that goes on with it.
        notes: what to tell before it begins.
    """

    info: RecipeInfo
    module: ModuleType
    config: Any
    folder: Path
    resume: bool
    again: list[str]
    notes: tuple[str, ...] = ()


def execute(plan: Plan) -> dict[str, Any]:
    """Run a plan with live progress and print its report.

    Returns:
        The report.

    Raises:
        TutelageError: whatever went wrong, with a note on how to go on where something was done already.
    """
    from tutelage.cli.backends import open_bench
    from tutelage.cli.progress import open_progress
    from tutelage.cli.tables import print_report, result_console
    from tutelage.config.writing import resolved

    config = plan.config.model_copy(update={"output_dir": str(plan.folder)})
    check_model_name(config.model)
    progress = open_progress()
    for note in plan.notes:
        progress.note(note)
    try:
        with (
            unless_unbegun(plan.folder),
            open_bench(
                config, recipe=plan.info.name, folder=plan.folder, progress=progress, resume=plan.resume
            ) as bench,
        ):
            progress.note(f"{'resuming' if plan.resume else 'run folder'}: {plan.folder}")
            report: dict[str, Any] = plan.module.run(config, bench)
    except (Exception, KeyboardInterrupt) as error:  # the named boundary: it becomes one of ours, with its cause
        raise explain(error, plan.folder, plan.again) from error
    finally:
        progress.end()
    print_report(report, result_console(), folder=plan.folder, settings=resolved(config))
    return report


def explain(error: BaseException, folder: Path, again: Sequence[str]) -> TutelageError:
    """The failure of a run as one of ours, noting where the traceback lies and how to go on.

    Args:
        error: what was raised.
        folder: the run folder.
        again: the words of the command that goes on with it.
    """
    from tutelage.cli.failures import as_told, write_traceback

    told = as_told(error)
    has_begun = (folder / "run.json").exists()
    is_ours = isinstance(error, TutelageError | KeyboardInterrupt)
    path = write_traceback(error, folder) if has_begun and not is_ours else None
    if path is not None:
        told.add_note(f"traceback: {path}")
    if has_begun and isinstance(told, RunFailed) and not isinstance(told, NothingToLearn):
        told.add_note(f"nothing done so far is lost; go on with: {shlex.join(again)}")
    return told


def choose_folder(
    recipe: str,
    output_dir: str | None,
    model: str,
    *,
    resume: bool,
    runs: Path = RUNS,
    clock: Callable[[], float] = time.time,
) -> Path:
    """The run folder: what the user named, else a new one, else (resuming) the newest of that recipe and model.

    Args:
        recipe: the recipe's name.
        output_dir: what the user named, or None.
        model: the model as the user named it.
        runs: where unnamed runs lie.
        clock: seconds since 1970.

    Raises:
        RunError: there is nothing to resume.
    """
    if output_dir is not None:
        return Path(output_dir).expanduser()
    stem = f"{recipe}-{short_name(model)}-"
    if not resume:
        return unused(runs / (stem + time.strftime(TIME_FORMAT, time.localtime(clock()))))
    found = [
        path.parent for path in runs.glob(f"{stem}*/run.json") if TIME_PATTERN.fullmatch(path.parent.name[len(stem) :])
    ]
    if not found:
        raise RunError(
            f"there is no run of {recipe} with {model} to resume",
            seen=f"no folder {runs / stem}*",
            expected="a run folder that was made without output_dir",
            advice="name the folder with output_dir=FOLDER, or leave out --resume to begin a new run",
        )
    return max(found, key=lambda path: path.name)


def unused(path: Path) -> Path:
    """`path`, or the first of `path-2`, `path-3`, ... that does not exist."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def refuse_unknown_options(words: Sequence[str], *, options: Sequence[str] = OPTIONS) -> None:
    """Words with a dash that are near an option are slips of it; others are told of with the settings.

    Args:
        words: what the command line had besides its options.
        options: the options there are, with their dashes.

    Raises:
        ConfigError: a misspelt option.
    """
    from tutelage.config.loading import nearest

    for word in words:
        near = nearest(word.lstrip("-"), [option.lstrip("-") for option in options]) if word.startswith("-") else ""
        if near:
            raise ConfigError([f"{word!r} (command line): no such option; did you mean --{near}?"])


def check_model_name(model: str) -> None:
    """Refuse what is plainly no model, before a hub is asked for it: a slip of `primer`.

    Args:
        model: as the user named it; with `local:` before it, or one who answers in a model's place, too.

    Raises:
        ModelError: it is one.
    """
    from tutelage.config.loading import nearest

    bare = model.removeprefix("local:")
    if bare == BUILT_IN or "/" in bare or ":" in bare or Path(bare).exists():
        return
    if nearest(bare, [BUILT_IN]):
        raise ModelError(
            f"there is no model {bare!r}; did you mean {BUILT_IN}?", seen=model,
            expected=f"{BUILT_IN}, a folder, or a hub name", advice=f"write {BUILT_IN}",
        )  # fmt: skip


def short_name(model: str) -> str:
    """A short name for folders; that of a run's checkpoint has the run's name in it."""
    parts = [part for part in model.replace("\\", "/").split("/") if part] or ["model"]
    words = [parts[-3], parts[-1]] if parts[-2:-1] == ["checkpoints"] and len(parts) > 2 else parts[-1:]
    return re.sub(r"[^\w.+-]+", "_", "-".join(words))


def settled_words(words: Sequence[str], config: Any, taken: Iterable[str], *, but: str) -> list[str]:
    """The words of a command, run folders replaced by the checkpoints that `config` holds for the keys `taken`.

    Args:
        but: a key that is left out.
    """
    gone = {but, *taken}
    kept = [word for word in words if word.partition("=")[0].strip().replace("-", "_") not in gone]
    return kept + [f"{key}={getattr(config, key)}" for key in taken if key != but]


def _print_estimate(config: Any) -> None:
    """What the run would cost, from a measured warm-up; nothing is written."""
    from tutelage.cli.backends import assemble
    from tutelage.cli.tables import estimate_lines
    from tutelage.recipes.estimate import estimate

    parts = assemble(config)
    splits = parts.splits
    cost = estimate(
        config, train=splits.train, test=splits.test, prompter=parts.seat.prompter, base=parts.base,
        open_sampler=parts.seat.samplers.open,
    )  # fmt: skip
    typer.echo("\n" + "\n".join(f"# {line}" for line in estimate_lines(cost.to_json())))
