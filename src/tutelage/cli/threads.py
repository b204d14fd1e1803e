"""Process-wide settings that must be in place before torch or transformers is imported.

This is the only place where tutelage touches the environment, and it does so when a command runs, never on import.
Whatever the user has set is left alone.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import MutableMapping

from tutelage.errors import InputError

# Two torch threads beside another busy process ran 65 times slower than one (117 against 7,616 tokens/s on two
# cores): idle OpenMP threads spin while they wait, and take the core from the one they wait for. So one thread for
# each process, and idle threads sleep.
DEFAULT_THREADS = 1
VARIABLE = "TUTELAGE_THREADS"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# On processors with matrix units of their own (AMX) MKL sums a row of a product in another order where there are more
# rows beside it, so that a sample hangs on its neighbours. Its strict mode does not, and is as fast (LOG.md).
SAME_BITS = {"MKL_CBWR": "AUTO,STRICT"}
QUIET = {
    "OMP_WAIT_POLICY": "passive",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}


def configure_threads(environment: MutableMapping[str, str] | None = None) -> int:
    """Set the number of threads of this process and its children, make products repeatable, quieten the libraries.

    Args:
        environment: what is read and changed; None is the process's own. `TUTELAGE_THREADS` in it sets the number
            of threads, 1 or more; without it, `OMP_NUM_THREADS`, else 1.

    Returns:
        The number of threads.

    Raises:
        InputError: `TUTELAGE_THREADS` is not a whole number of at least 1.
    """
    target = os.environ if environment is None else environment
    threads = _num_threads(target)
    for name in THREAD_VARIABLES:
        if VARIABLE in target:
            target[name] = str(threads)
        else:
            target.setdefault(name, str(threads))
    for name, value in (SAME_BITS | QUIET).items():
        target.setdefault(name, value)
    # What transformers says of its own future is nothing a user of a command can act on.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\b")
    return threads


def _num_threads(environment: MutableMapping[str, str]) -> int:
    text = environment.get(VARIABLE)
    if text is None:
        inherited = environment.get("OMP_NUM_THREADS", "")
        return int(inherited) if inherited.isdecimal() and int(inherited) else DEFAULT_THREADS
    if not text.isdecimal() or int(text) < 1:
        raise InputError(
            f"the environment variable {VARIABLE} is wrong",
            seen=text,
            expected="a whole number of at least 1",
            advice=f"unset {VARIABLE}, or set it to the number of threads wanted",
        )
    return int(text)
