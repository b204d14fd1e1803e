"""Programs in the sandbox against plain `python -c`: speed, the same output, no growth, and the wall limit under load.

Five workloads, one JSON line each (`--json`; about 3 minutes, and 5 to 10 more with `--endurance`):

- `python-sympy`: ten programs as models write them for school mathematics (equations, systems, factors, derivatives, an
  integral, matrices, numbers); ratio of programs a second, one program at a time on both sides. The peer is a fresh
  interpreter for each program, as most graders start one.
- `python-trivial`: `print(n + 1)`, which shows what a run costs by itself.
- `fidelity`: 200 honest programs (see sandbox_programs.py) with sympy and numpy; the share of outputs that are
  byte-equal to those of the plain interpreter with the same hash seed.
- `wall-limit`: seconds by which endless programs overran a limit of 0.5 s with all cores busy.
- `endurance` (only with `--endurance`): 10,000 programs on one server; memory, processes, descriptors and mounts of
  the caller and of the zygotes before and after.

Times are wall-clock, as most of the work is done in other processes; both sides run on the same loaded machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from paired import in_turn, line, summary
from sandbox_programs import honest_programs

from tutelage.sandbox import Limits, SandboxServer, open_sandbox

SYMPY = (
    "import sympy as sp\nx = sp.symbols('x')\nprint(sp.solve(x**2 - 9*x + 6, x))",
    "import sympy as sp\nx, y = sp.symbols('x y')\nprint(sp.solve([x + y - 12, 3*x - y - 8], [x, y]))",
    "from sympy import *\nx = symbols('x')\nprint(simplify((x**2 - 49)/(x - 7)), factor(x**3 - 8))",
    "from sympy import *\nx = symbols('x')\nprint(expand((x + 3)**5), diff(sin(2*x)*x**2, x))",
    "import sympy as sp\nx = sp.symbols('x')\nprint(sp.integrate(3*x**2 + 2*x, (x, 0, 4)))",
    "import sympy as sp\nprint(sp.Matrix([[2, 1], [1, 3]]).inv(), sp.Matrix([[2, 1], [1, 3]]).det())",
    "import sympy as sp\nprint(sp.factorint(360360), sp.nextprime(1000), sp.binomial(20, 6), sp.gcd(84, 126))",
    "import sympy as sp\nprint(sp.sqrt(8) * sp.Rational(3, 4), sp.Rational(2, 7) + sp.Rational(1, 3))",
    "import numpy as np, sympy as sp\nprint(np.roots([1, -5, 6]), sp.N(sp.pi, 20))",
    "import sympy as sp\nr = sp.symbols('r', positive=True)\nprint(sp.solve(sp.pi * r**2 - 36 * sp.pi, r))",
)
TRIVIAL = "print({n} + 1)"
ENDURANCE = 10_000
WALL = 0.5
LIMITS = Limits(wall_seconds=60.0, cpu_seconds=60.0)


def speed(name: str, programs: Sequence[str], sandbox: SandboxServer, rounds: int) -> str:
    """One workload against fresh interpreters, one program at a time on both sides."""

    def ours() -> None:
        for program in programs:
            execution = sandbox.run(program, LIMITS)
            assert execution.status == "ok", execution

    def peer() -> None:
        for program in programs:
            plain(program)

    mine, theirs = in_turn(ours, peer, rounds=rounds, clock=time.perf_counter)
    rate, peer_rate = ([len(programs) / seconds for seconds in side] for side in (mine, theirs))
    return line(
        name,
        [b / a for a, b in zip(mine, theirs, strict=True)],
        ours={"programs_per_second": summary(rate), "tier": sandbox.tier, "workers": 1},
        peer={"programs_per_second": summary(peer_rate), "command": "python -c"},
    )


def plain(program: str) -> bytes:
    """What a program prints in a fresh interpreter."""
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
    words = [sys.executable, "-c", program]
    with tempfile.TemporaryDirectory() as folder:  # some programs write files
        return subprocess.run(words, env=environment, cwd=folder, capture_output=True, check=True).stdout


def fidelity(sandbox: SandboxServer) -> str:
    """Honest programs, byte for byte."""
    programs = honest_programs()
    different = []
    for program in programs:
        execution = sandbox.run(program, LIMITS)
        if execution.status != "ok" or execution.stdout.encode() != plain(program):
            different.append({"program": program[:200], "status": execution.status, "stderr": execution.stderr[-200:]})
    share = 1 - len(different) / len(programs)
    return line(
        "fidelity", [share], ours={"programs": len(programs), "different": different}, peer={"command": "python -c"}
    )


def wall_limit(sandbox: SandboxServer, runs: int) -> str:
    """Over-run of the wall limit while every core has two busy processes."""
    words = [sys.executable, "-S", "-c", "while True: pass"]
    busy = [subprocess.Popen(words) for _ in range(2 * (os.cpu_count() or 1))]
    limits = Limits(wall_seconds=WALL, cpu_seconds=60.0)
    overruns, whole = [], []
    try:
        for _ in range(runs):
            began = time.perf_counter()
            execution = sandbox.run("while True: pass", limits)
            whole.append(time.perf_counter() - began - WALL)
            assert execution.status == "timeout", execution
            overruns.append(execution.seconds - WALL)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    ours = {"overrun_seconds": summary(overruns), "with_start_seconds": summary(whole), "busy_processes": len(busy)}
    return line("wall-limit", [1.5 / max(whole)], ours=ours, peer={"allowed_seconds": 1.5})


def endurance(sandbox: SandboxServer, runs: int) -> str:
    """Many programs on one server, with a look at what grows."""
    sandbox.run(TRIVIAL.format(n=0), LIMITS)
    looks = [look()]
    began = time.perf_counter()
    for n in range(runs):
        execution = sandbox.run(f"open('f', 'w').write('x')\nprint({n})", LIMITS)
        assert execution.value == str(n), execution
        if n % (runs // 10) == 0:
            looks.append(look())
    seconds = time.perf_counter() - began
    looks.append(look())
    growth = max(now["caller_bytes"] for now in looks) / looks[0]["caller_bytes"]
    ours = {
        "runs": runs,
        "seconds": round(seconds, 1),
        "first": looks[0],
        "last": looks[-1],
        "growth": round(growth, 4),
    }
    return line("endurance", [runs / seconds], ours=ours, peer={"unit": "programs per second"})


def look() -> dict[str, int]:
    """Memory of this process and of its zygotes, processes, descriptors and mounts."""
    sessions = {pid for pid in _pids() if _parent(pid) == os.getpid()}
    below = [pid for pid in _pids() if _field(pid, 3) in sessions]
    return {
        "caller_bytes": _resident(os.getpid()),
        "zygote_bytes": sum(map(_resident, below)),
        "processes": len(below),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "zygote_mounts": max(len(_read(pid, "mountinfo").splitlines()) for pid in below),
        "zygote_descriptors": max(len(_listed(pid, "fd")) for pid in below),
    }


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""


def _listed(pid: int, name: str) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/{name}")
    except OSError:
        return []


def _field(pid: int, index: int) -> int:
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[index]) if fields else -1


def _parent(pid: int) -> int:
    return _field(pid, 1)


def _resident(pid: int) -> int:
    fields = _read(pid, "statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def main() -> None:
    """Run the workloads and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a line (what is printed anyway)")
    parser.add_argument("--rounds", type=int, default=12, help="rounds of the speed workloads")
    parser.add_argument("--endurance", action="store_true", help=f"also {ENDURANCE:,} programs on one server")
    parser.add_argument("--tier", default="auto", help="tier of the sandbox")
    arguments = parser.parse_args()
    with open_sandbox(tier=arguments.tier) as sandbox:
        print(speed("python-sympy", SYMPY, sandbox, arguments.rounds), flush=True)
        print(speed("python-trivial", [TRIVIAL.format(n=n) for n in range(20)], sandbox, arguments.rounds), flush=True)
        print(fidelity(sandbox), flush=True)
        print(wall_limit(sandbox, 20), flush=True)
        if arguments.endurance:
            print(endurance(sandbox, ENDURANCE), flush=True)


if __name__ == "__main__":
    main()
