"""The tree of failures.

    TutelageError                what tutelage raises on purpose; has an exit code
    +-- InputError               the user's input is wrong (exit code 2, before any work)
    |   +-- ConfigError          settings: unknown key, value out of range
    |   +-- DataError            a data file, a row, a gold answer
    |   +-- ModelError           a model folder that cannot be used
    |   +-- RunError             a run folder that exists, is missing, or does not fit the config
    +-- RunFailed                the run started and could not go on (exit code 1, resumable)
    |   +-- NothingToLearn       no problem yields anything to learn from
    |   +-- StorageFull          the disk is full
    |   +-- SamplerFailed        a sampling backend stopped answering
    +-- MissingExtra             an optional package is needed (exit code 2)

Every message has four parts: what failed, the value seen, what was expected, what to do.
"""

from __future__ import annotations


class TutelageError(Exception):
    """Base of all errors raised on purpose.

    Args:
        what: what failed, as a sentence without a final stop.
        seen: the offending value, shortened to 200 characters.
        expected: what would have been right.
        advice: what to do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, seen: object = None, expected: str = "", advice: str = "") -> None:
        self.what, self.seen, self.expected, self.advice = what, seen, expected, advice
        super().__init__(self.message())

    def message(self) -> str:
        """The four parts as one text, one part a line."""
        lines = [self.what]
        if self.seen is not None:
            text = self.seen if isinstance(self.seen, str) else repr(self.seen)
            lines.append(f"  seen:     {text if len(text) <= 200 else text[:197] + '...'}")
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.advice:
            lines.append(f"  do:       {self.advice}")
        return "\n".join(lines)


class InputError(TutelageError):
    """The user's input is wrong; raised before any work is done."""

    exit_code = 2


class ConfigError(InputError):
    """One or more settings are wrong; `problems` lists all of them."""

    def __init__(self, problems: list[str], *, advice: str = "") -> None:
        self.problems = problems
        head = "1 setting is wrong" if len(problems) == 1 else f"{len(problems)} settings are wrong"
        super().__init__(head + ":\n" + "\n".join(f"  - {p}" for p in problems), advice=advice)


class DataError(InputError):
    """A data set cannot be used: a missing file, an empty set, a bad row, a gold that cannot be parsed."""


class ModelError(InputError):
    """A model cannot be used: no tokenizer, wrong architecture, no trainable parameter."""


class RunError(InputError):
    """A run folder cannot be used: it exists, is missing, or was made with another config."""


class MissingExtra(InputError):
    """An optional package is needed.

    Args:
        package: the package that could not be imported.
        extra: the extra of tutelage that installs it.
        purpose: what it is needed for.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed",
            advice=f"pip install 'tutelage[{extra}]'",
        )


class RunFailed(TutelageError):
    """The run started and could not go on; what it wrote can be resumed."""


class NothingToLearn(RunFailed):
    """No problem yields anything to learn from, e.g. none has both a right and a wrong sample."""


class StorageFull(RunFailed):
    """The disk is full; everything written so far is kept."""


class SamplerFailed(RunFailed):
    """A sampling backend failed for good after its retries."""


class SandboxUnavailable(InputError):
    """No tier of the sandbox is safe on this machine; the message says what was tried and how to enable one."""
