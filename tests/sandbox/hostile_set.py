"""The hostile programs, what they are after, and how it is seen from outside that one of them got it.

A program prints ESCAPED where it has done what it should not be able to do; what is done to the machine is looked for
by the field itself, whatever the program says. Not a test: loaded by the tests and by the null adapter's process.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import string
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
CATEGORIES = sorted(path.stem for path in (HERE / "hostile").glob("*.txt"))
ESCAPED = "ESCAPED"
REFERENCE = "the-reference-4711"
SECRET_NAME = "TUTELAGE_TEST_SECRET"
PUBLIC = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/var/crash")
AFTER = """
import gc, math, os, random, sys, sympy
try:
    import left
    print("left")
except ImportError:
    pass
import fractions
print(len("abc"), math.sqrt(16), sympy.sqrt(16), sys.getrecursionlimit(), gc.isenabled(), os.environ.get("LEFT"))
print(random.random(), fractions.Fraction(1, 2), os.listdir(".") if os.getcwd() != "/" else [])
"""
"""An honest program whose output shows what an earlier one may have left."""


@dataclass(frozen=True)
class Case:
    """One program.

    `flags` has `hog` (only uses things up), `forges`, `state` or `exists` (asks which paths there are); `statuses` are
    those that it may end with, any if empty.
    """

    name: str
    category: str
    flags: frozenset[str]
    statuses: frozenset[str]
    code: str


def sections(path: Path) -> Iterator[tuple[list[str], str]]:
    """Head fields and body of each section of a program file."""
    for part in path.read_text(encoding="utf-8").split("=== ")[1:]:
        head, _, body = part.partition("\n")
        yield [text.strip() for text in head.split("|")], body


def cases(category: str) -> list[Case]:
    """The programs of a category."""
    found = []
    for head, body in sections(HERE / "hostile" / f"{category}.txt"):
        flags, statuses = (head[1:2] or [""])[0], (head[2:3] or [""])[0]
        found.append(
            Case(head[0], category, frozenset(flags.split()), frozenset(filter(None, statuses.split(","))), body)
        )
    return found


@dataclass
class Field:
    """What hostile programs are after, and a look at whether they got it."""

    folder: Path
    home: Path
    token: str = field(default_factory=lambda: secrets.token_hex(12))
    tag: str = field(default_factory=lambda: "tag" + secrets.token_hex(6))
    key: int = field(default_factory=lambda: 0x10000000 + secrets.randbelow(1 << 27))
    sockets: dict[str, socket.socket] = field(default_factory=dict)
    decoy: subprocess.Popen | None = None

    def __post_init__(self) -> None:
        for folder in (self.folder, self.home):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o777)  # so that only the sandbox keeps anybody from it
        for path in (self.folder / "secret", self.home / ".key", self.folder / "victim"):
            path.write_text(self.token)
            path.chmod(0o666)
        self._listen()
        self.restart_decoy()
        os.environ[SECRET_NAME] = self.token

    def _listen(self) -> None:
        self.sockets["$PORT"] = socket.create_server(("127.0.0.1", 0))
        with contextlib.suppress(OSError):
            self.sockets["$PORT6"] = socket.create_server(("::1", 0), family=socket.AF_INET6)
        self.sockets["$UDP"] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sockets["$UDP"].bind(("127.0.0.1", 0))
        for name, address in (("abstract", f"\0{self.tag}"), ("path", str(self.folder / "socket"))):
            self.sockets[name] = socket.socket(socket.AF_UNIX)
            self.sockets[name].bind(address)
            self.sockets[name].listen()
        (self.folder / "socket").chmod(0o777)
        for listener in self.sockets.values():
            listener.setblocking(False)

    def restart_decoy(self) -> None:
        """Have a process that programs may try to reach."""
        if self.decoy is None or self.decoy.poll() is not None:
            words = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
            self.decoy = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=self.folder)

    def fill(self, case: Case) -> str:
        """The program's source."""
        ports = {name[1:]: s.getsockname()[1] for name, s in self.sockets.items() if name.startswith("$")}
        values = {
            "PORT6": 1, **ports, "FOLDER": self.folder, "HOME": self.home, "TAG": self.tag, "KEY": self.key,
            "ABSTRACT": self.tag, "DECOY": self.decoy.pid, "BROKER": os.getpid(), "SECRET_NAME": SECRET_NAME,
            "REFERENCE": REFERENCE, "NUL": "\0", "SURROGATE": "\ud800", "MEGABYTE": "x" * (1 << 20),
            "DIGITS": "9" * (1 << 20), "PARENTHESES": "(" * 5000 + ")" * 5000,
        }  # fmt: skip
        return string.Template(case.code).safe_substitute(values)

    def damage(self, case: Case, printed: str, errors: str = "") -> list[str]:
        """What the program got; nothing where it got nothing. Makes all good again."""
        found = [name for name in (ESCAPED, self.token) if name in printed]
        found += ["the secret in stderr"] if self.token in errors else []
        for name, listener in self.sockets.items():
            with contextlib.suppress(BlockingIOError):
                listener.recv(100) if name == "$UDP" else listener.accept()[0].close()
                found.append(f"{name} was reached")
        for name in ("secret", "victim"):
            path = self.folder / name
            if not path.exists() or path.read_text() != self.token or path.stat().st_mode & 0o777 != 0o666:
                found.append(f"{name} was changed")
                path.write_text(self.token)
                path.chmod(0o666)
        for path in self._strangers():
            found.append(f"left {path}")
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        if self.decoy.poll() is not None:
            found.append("killed the decoy")
            self.restart_decoy()
        if f"{self.key:#010x}" in _system_v():
            found.append("left a segment")
        return found

    def _strangers(self) -> list[Path]:
        expected = {"secret", "victim", "socket", "home"}
        found = [path for path in self.folder.iterdir() if path.name not in expected]
        found += [path for path in self.home.iterdir() if path.name != ".key"]
        return found + [path for folder in PUBLIC if (path := Path(folder) / self.tag).exists()]

    def close(self) -> None:
        """Clean up."""
        os.environ.pop(SECRET_NAME, None)
        for listener in self.sockets.values():
            listener.close()
        self.decoy.kill()
        self.decoy.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _system_v() -> str:
    tables = (Path("/proc/sysvipc") / name for name in ("shm", "sem", "msg"))
    rows = (line.split() for path in tables if path.exists() for line in path.read_text().splitlines()[1:])
    return " ".join(f"{int(row[0]) & 0xFFFFFFFF:#010x}" for row in rows)


@contextlib.contextmanager
def open_field() -> Iterator[Field]:
    """A field in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="tutelage-field-", dir="/tmp"))
    made = Field(folder, folder / "home")
    try:
        yield made
    finally:
        made.close()
