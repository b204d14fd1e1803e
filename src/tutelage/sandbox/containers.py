"""The command that starts a zygote inside a container, for users who name an engine and an image.

The engine shuts the network, takes all rights and the right to write, and limits processes; limits, seccomp and
Landlock are ours, as in the other tiers. The zygote in the container talks through a Unix socket in a folder that is
mounted into it. The image needs `python3`, 3.11 or later, and whatever libraries programs are to see; this package is
mounted too. `runsc:IMAGE` is docker with gVisor's runtime, which must be set up to let a container reach host sockets
and receive descriptors; the self-test tells whether it is.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tutelage.errors import InputError
from tutelage.sandbox.visible import PACKAGE

ENGINES = ("docker", "podman", "runsc")
MOUNT = "/opt/tutelage-sandbox"
SOCKETS = "/opt/tutelage-socket"
PROCESSES = "512"
VARIABLES = ("HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST", "XDG_RUNTIME_DIR")
"""What an engine's command must know of the caller's environment; the container does not get them."""


def is_container(tier: str) -> bool:
    """Whether a tier names an engine."""
    return tier.partition(":")[0] in ENGINES


def engine_of(tier: str) -> str | None:
    """The path of the engine's command; None where it is not installed.

    Raises:
        InputError: the tier names no image.
    """
    engine, _, image = tier.partition(":")
    if not image:
        raise InputError(f"the tier {engine} needs an image", seen=tier, expected=f"{engine}:IMAGE")
    return shutil.which("docker" if engine == "runsc" else engine)


def command(program: str, tier: str, folder: Path, environment: dict[str, str]) -> tuple[str, ...]:
    """The words before the interpreter's arguments.

    Args:
        program: the engine's command.
        tier: engine:IMAGE.
        folder: where the zygote's socket is.
        environment: variables of the zygote.
    """
    engine, _, image = tier.partition(":")
    words = [program, "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--ipc", "none"]
    words += ["--security-opt", "no-new-privileges", "--user", "65534:65534", "--pids-limit", PROCESSES]
    words += ["--hostname", "sandbox", "--workdir", "/", "--entrypoint", "python3"]
    words += ["--volume", f"{PACKAGE}:{MOUNT}/tutelage:ro", "--volume", f"{folder}:{SOCKETS}:ro"]
    words += ["--runtime", "runsc"] if engine == "runsc" else []
    words += [word for key, value in environment.items() if key != "PATH" for word in ("--env", f"{key}={value}")]
    return (*words, image)
