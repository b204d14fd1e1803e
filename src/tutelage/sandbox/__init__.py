"""Where programs written by a model run: the contract, and what a run of a program reports.

This package holds the protocol only; until a backend exists, nothing in tutelage executes a program.
"""

from tutelage.sandbox.protocol import Execution, ExecutionStatus, Limits, Sandbox

__all__ = ["Execution", "ExecutionStatus", "Limits", "Sandbox"]
