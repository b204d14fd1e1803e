"""The environment that a zygote is started with: ours alone, nothing of the caller's."""

from __future__ import annotations

THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB")
LIBRARY_SETTINGS = {
    **{f"{name}_NUM_THREADS": "1" for name in THREADS},
    "SYMPY_GROUND_TYPES": "python",  # gmpy2 and flint end the process where memory is short, and read no signal
}
"""Settings that libraries read when they are imported; programs that import them late see these too."""
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONUTF8": "1",
    "PYTHONHASHSEED": "0",
    "MALLOC_ARENA_MAX": "2",  # each further one reserves 64 MiB of address space per thread
    **LIBRARY_SETTINGS,
}
