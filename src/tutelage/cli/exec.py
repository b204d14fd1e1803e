"""`tutelage exec`: a program in the sandbox, or with `--serve` as many as the caller sends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def execute(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE.py", help="Program to run; - is stdin.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object about the run.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Run what comes as JSON lines on stdin; answer on stdout.")
    ] = False,
    tier: Annotated[
        str,
        typer.Option(
            "--tier", help="auto, namespaces, landlock, bubblewrap, docker:IMAGE, podman:IMAGE, runsc:IMAGE or none."
        ),
    ] = "auto",
    allow_unsafe: Annotated[
        bool,
        typer.Option("--allow-unsafe-execution", help="Run unprotected where no sandbox works; the result says so."),
    ] = False,
    wall: Annotated[float, typer.Option("--wall", help="Seconds by the clock.")] = 5.0,
    cpu: Annotated[float | None, typer.Option("--cpu", help="Seconds of CPU.", show_default="as --wall")] = None,
    memory: Annotated[float, typer.Option("--memory", help="Memory in MiB.")] = 1024.0,
    processes: Annotated[int, typer.Option("--processes", help="Threads of the program.")] = 32,
    file_size: Annotated[float, typer.Option("--file-size", help="Largest file in MiB.")] = 8.0,
    scratch: Annotated[float, typer.Option("--scratch", help="All files together in MiB.")] = 16.0,
    files: Annotated[int, typer.Option("--files", help="Number of files.")] = 256,
    output: Annotated[float, typer.Option("--output-size", help="stdout in KiB, and as much of stderr.")] = 64.0,
    workers: Annotated[int, typer.Option("--workers", help="With --serve: programs that run at a time.")] = 1,
) -> None:
    """Run a Python program without network, files, secrets or much else; refuse where that cannot be had.

    What it prints is printed, and what it writes to stderr; the exit code is 0 where it ended well, else 1. With
    --serve, each line {"code": "...", "wall": 5} is answered by one line {"status", "stdout", "stderr", "seconds",
    "tier", "value"} in the same order; other keys of a request come back in its answer.
    """
    from tutelage.cli.executing import in_bytes, read_program, run_program, serve_lines
    from tutelage.errors import InputError
    from tutelage.sandbox import DEFAULT_PRELOAD, Limits, open_sandbox

    if serve == (file is not None):
        raise InputError("exec takes either a file or --serve", expected="tutelage exec FILE.py, tutelage exec --serve")
    program = None if file is None else read_program(file)
    mebibyte = 1 << 20
    limits = Limits(
        wall_seconds=wall,
        cpu_seconds=wall if cpu is None else cpu,
        memory_bytes=in_bytes("--memory", memory, mebibyte),
        processes=processes,
        file_bytes=in_bytes("--file-size", file_size, mebibyte),
        scratch_bytes=in_bytes("--scratch", scratch, mebibyte),
        scratch_files=files,
        output_bytes=in_bytes("--output-size", output, 1024),
    )
    preload = DEFAULT_PRELOAD if serve else ()  # for one program, what it does not import need not be loaded
    with open_sandbox(tier=tier, workers=workers, preload=preload, allow_unsafe=allow_unsafe) as sandbox:
        if sandbox.tier == "none":
            typer.echo("warning: no sandbox: programs run with all your rights", err=True)
        if program is None:
            serve_lines(sandbox, limits)
        elif not run_program(sandbox, program, limits, as_json=as_json):
            raise typer.Exit(1)
