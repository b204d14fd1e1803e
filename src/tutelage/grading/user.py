"""Graders that users bring: any function of a problem and a completion, and where to load one from.

Their code is trusted (it is the user's own), but not to be right: whatever it raises or returns becomes a verdict,
and a failure is the outcome `error` with its cause, never a score.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from tutelage.errors import InputError
from tutelage.grading.exact import ExactGrader
from tutelage.grading.grader import Grader
from tutelage.records import OUTCOMES, Completion, Outcome, Problem, Verdict

GradeFunction = Callable[[Problem, Completion], Verdict | bool | float | None]


@dataclass(frozen=True)
class UserGrader:
    """Wraps `function(problem, completion) -> Verdict | bool | float | None`.

    A bool is correct or incorrect; a number is kept as the score, and correct from `threshold` on; None is
    `undecided`; an exception, a number that is not finite or anything else is `error`.
    """

    function: GradeFunction
    threshold: float = 0.5
    name: str = "user"
    version: str = "1"

    def grade(self, problem: Problem, completion: Completion) -> Verdict:
        """The verdict on one completion. Boundary to the user's code: whatever it raises is recorded in the verdict."""
        started = time.perf_counter()
        if completion.finish_reason == "error":
            return self._verdict(problem, completion, "error", None, note=completion.note or "the sampler failed")
        try:
            result = self.function(problem, completion)
        except Exception as error:
            verdict = self._verdict(problem, completion, "error", None, note=f"{type(error).__name__}: {error}")
        else:
            verdict = self._read(problem, completion, result)
        return replace(verdict, seconds=time.perf_counter() - started)

    def grade_many(self, pairs: Sequence[tuple[Problem, Completion]]) -> list[Verdict]:
        """The verdicts on many completions, in their order."""
        return [self.grade(problem, completion) for problem, completion in pairs]

    def _read(self, problem: Problem, completion: Completion, result: Any) -> Verdict:
        if isinstance(result, Verdict):
            if result.outcome not in OUTCOMES:
                return self._verdict(problem, completion, "error", None, note=f"unknown outcome {result.outcome!r}")
            if result.score is not None and not math.isfinite(result.score):
                return self._verdict(problem, completion, "error", None, note=f"the grader's score is {result.score}")
            return replace(result, completion_id=completion.id, problem_id=problem.id)
        if result is None:
            return self._verdict(problem, completion, "undecided", None, note="the grader returned None")
        if isinstance(result, bool):
            return self._verdict(problem, completion, "correct" if result else "incorrect", float(result))
        try:
            score = float(result)
        except (TypeError, ValueError):
            note = f"the grader returned {type(result).__name__}, not a Verdict, bool, number or None"
            return self._verdict(problem, completion, "error", None, note=note)
        if not math.isfinite(score):
            return self._verdict(problem, completion, "error", None, note=f"the grader returned {score}")
        outcome: Outcome = "correct" if score >= self.threshold else "incorrect"
        return self._verdict(problem, completion, outcome, score)

    def _verdict(
        self, problem: Problem, completion: Completion, outcome: Outcome, score: float | None, *, note: str = ""
    ) -> Verdict:
        return Verdict(completion.id, problem.id, outcome, score, decided_by=self.name, note=note)


def load_grader(spec: str, *, threshold: float = 0.5) -> Grader:
    """The grader that a spelling names.

    Args:
        spec: `exact`, or `FILE.py:FUNCTION` with a function of (problem, completion).
        threshold: from which score on a user's number counts as correct.

    Raises:
        InputError: no such grader, file or function, or the file fails when it is loaded.
    """
    if spec == "exact":
        return ExactGrader()
    file, separator, name = spec.rpartition(":")
    if not separator or not file.endswith(".py"):
        raise InputError(
            "Unknown grader", seen=spec, expected="exact, or FILE.py:FUNCTION",
            advice="write a function of (problem, completion) and name its file and itself",
        )  # fmt: skip
    path = Path(file).expanduser()
    if not path.is_file():
        raise InputError(
            "The grader's file does not exist", seen=str(path), expected="a Python file", advice="check the path"
        )
    function = getattr(_module(path), name, None)
    if not callable(function):
        raise InputError("The grader's file has no such function", seen=name, expected=f"a function in {path}",
                         advice="check its name")  # fmt: skip
    version = hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    return UserGrader(function, threshold=threshold, name=spec, version=version)


def _module(path: Path) -> ModuleType:
    """The user's file, loaded as a module. Boundary to the user's code: what it raises becomes an InputError."""
    name = f"tutelage_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError("The grader's file cannot be loaded", seen=str(path), expected="a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"The grader's file fails: {type(error).__name__}: {error}", seen=str(path),
                         expected="a file that imports", advice="run it alone to see where") from error  # fmt: skip
    return module
