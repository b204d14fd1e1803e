"""What a user can do where no tier of the sandbox works, from what the kernel said and how it is set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

UNSAFE = "accept programs that can do all that you can: allow_unsafe=True, --allow-unsafe-execution"
SETTINGS = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1",
     "this system lets only programs with an AppArmor profile make user namespaces: write a profile for your Python "
     "with `userns,`, or run sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1 lets users make namespaces"),
    ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000 lets users make namespaces"),
)  # fmt: skip
CONTAINER = (
    "in a container, start it with --security-opt seccomp=unconfined (and --cap-add SYS_ADMIN where that is not enough)"
)


def advice(tried: Mapping[str, str], settings: Path = Path("/proc/sys")) -> str:
    """What would make a tier work.

    Args:
        tried: why each tier did not work.
        settings: where the kernel shows its settings.
    """
    parts = [text for name, value, text in SETTINGS if _is_set(settings / name, value)]
    if any("Operation not permitted" in why or "No space left" in why for why in tried.values()) and not parts:
        parts.append(CONTAINER)
    if "landlock" in tried:
        parts.append("Linux 5.13 or later with lsm=landlock gives the landlock tier")
    if "not installed" in tried.get("bubblewrap", ""):
        parts.append("install bubblewrap")
    if tried:
        parts.append("name a container engine: tier docker:IMAGE, podman:IMAGE or runsc:IMAGE")
    return "; or ".join([*parts, UNSAFE])


def _is_set(path: Path, value: str) -> bool:
    try:
        return path.read_text().strip() == value
    except OSError:
        return False
