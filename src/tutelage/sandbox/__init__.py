"""Where programs written by a model run: no network, no files, no secrets, bounded in all they use.

`open_sandbox` gives a `SandboxServer`; it refuses where this machine has no safe way. See docs/sandbox.md.
"""

from tutelage.sandbox.opening import DEFAULT_PRELOAD, open_sandbox
from tutelage.sandbox.protocol import Execution, ExecutionStatus, Limits, Sandbox
from tutelage.sandbox.server import SandboxServer

__all__ = [
    "DEFAULT_PRELOAD",
    "Execution",
    "ExecutionStatus",
    "Limits",
    "Sandbox",
    "SandboxServer",
    "open_sandbox",
]
