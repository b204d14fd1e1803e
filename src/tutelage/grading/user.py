"""Graders that users bring: three styles of functions, called unchanged in a worker that they cannot hurt us from.

Their code is trusted (it is the user's own), but not to be right, and it reads hostile text: it runs in a process that
is limited, killed when it hangs, and thrown away after each batch, so that whatever it raises, prints, patches or exits
stays there. A failure of it is the outcome `error` with its cause, never a score.

Where it runs is `isolation`: `sandbox` (no network, no home, read-only packages and the folder of the file), `process`
(a killable process with the user's own files, network and environment), or `auto`, the sandbox where this machine has
one. grading/user_entry.py is the other side.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tutelage.errors import InputError, SandboxUnavailable
from tutelage.grading.batching import Batcher, ItemLimits, Reply, died
from tutelage.grading.grader import CompletionGrader
from tutelage.grading.jails import ClosableJail, LazyJail, open_process, open_sandboxed
from tutelage.grading.process_jail import TIER
from tutelage.grading.tiered import Grader, Symbolic
from tutelage.records import OUTCOMES, Completion, Outcome, Problem, Verdict
from tutelage.sandbox.protocol import Limits

Isolation = Literal["auto", "sandbox", "process"]
Row = tuple[Problem, Completion]

STYLES = ("plain", "trl", "trl-chat", "verl")
BATCHED = ("trl", "trl-chat")
"""Styles whose functions judge many completions at once."""
TOGETHER = 16
"""Completions in one call of a batched function, and single calls in one child."""
LIMITS = ItemLimits(cpu_seconds=10.0, wall_seconds=60.0, memory_bytes=4 << 30)
ENTRY = "tutelage.grading.user_entry:open_entry"
"""Takes what is to be loaded as a text after it."""
LOAD_LIMITS = Limits(wall_seconds=60.0, cpu_seconds=60.0, memory_bytes=4 << 30)
EXPECTED = "exact, or FILE.py:FUNCTION, with trl:, trl-chat: or verl: before it if its parameters do not show it"


@dataclass(frozen=True)
class GraderOptions:
    """How graders are run; only `symbolic` and `workers` matter to the built-in one.

    Args:
        threshold: from which score on a user's number counts as correct.
        isolation: where a user's function runs.
        limits: what one call of it may use.
        workers: preloaded worker processes, and calls at once.
        symbolic: whether the built-in grader has its symbolic tier.
    """

    threshold: float = 0.5
    isolation: Isolation = "auto"
    limits: ItemLimits = LIMITS
    workers: int = 1
    symbolic: Symbolic = "auto"


@dataclass(frozen=True)
class UserGrader:
    """A user's function behind the protocol of graders; made by `load_grader`.

    A bool is correct or incorrect; a number is kept as the score, and correct from `threshold` on; a dict gives its
    `score`; None is `undecided`; an exception, a hang, a number that is not finite, a list of another length or
    anything else is `error`.
    """

    name: str
    version: str
    style: str
    jail: LazyJail
    entry: str
    options: GraderOptions
    _told: list[str] = field(default_factory=list, repr=False, compare=False)

    def grade(self, problem: Problem, completion: Completion) -> Verdict:
        """The verdict on one completion."""
        return self.grade_many([(problem, completion)])[0]

    def grade_many(self, pairs: Sequence[Row]) -> list[Verdict]:
        """The verdicts on many completions, in their order. A batch that fails is tried again one by one."""
        sampled = [place for place, (_, completion) in enumerate(pairs) if completion.finish_reason != "error"]
        size = TOGETHER if self.style in BATCHED else 1
        groups = [sampled[at : at + size] for at in range(0, len(sampled), size)]
        verdicts = self._grade(pairs, groups)
        failed = [[place] for group in groups if len(group) > 1 for place in group if place not in verdicts]
        verdicts |= self._grade(pairs, failed)
        return [verdicts.get(place) or _not_sampled(*pair, self.name) for place, pair in enumerate(pairs)]

    def _grade(self, pairs: Sequence[Row], groups: Sequence[list[int]]) -> dict[int, Verdict]:
        """Verdicts by place; a failed group of several has none yet."""
        batch = 1 if self.style in BATCHED else TOGETHER
        batcher = Batcher(self.jail, self.entry, self.options.limits, batch, self.options.workers)
        items = [[_row(*pairs[place]) for place in group] for group in groups]
        verdicts: dict[int, Verdict] = {}
        for group, reply in zip(groups, batcher.run(items) if items else [], strict=True):
            said = self._said(reply, len(group))
            if said is None:
                continue
            for place, one in zip(group, said, strict=True):
                verdict = read_said(*pairs[place], one, threshold=self.options.threshold, name=self.name)
                verdicts[place] = replace(verdict, seconds=reply.seconds / len(group))
        return verdicts

    def _said(self, reply: Reply, count: int) -> list[Any] | None:
        """What was said of each row; None where a group of several failed as a whole and may be tried one by one."""
        if reply.failure is None and isinstance(reply.value, list) and len(reply.value) == count:
            return reply.value
        if count > 1:
            return None
        return [{"error": died(reply).detail if reply.failure else "the worker's answer makes no sense"}]

    def absence(self) -> str | None:
        """That there is no sandbox, where `auto` had to do without one, the first time that it is asked; else None."""
        if self._told or self.options.isolation != "auto" or self.jail.open().tier != TIER:
            return None
        self._told.append(f"no sandbox works here: {self.name} runs in a plain process, with your files and network")
        return self._told[0]

    def close(self) -> None:
        """End the workers; grading goes on with new ones."""
        self.jail.close()


def read_said(problem: Problem, completion: Completion, said: Any, *, threshold: float, name: str) -> Verdict:
    """The verdict that a function's word stands for.

    Args:
        problem: the problem.
        completion: the completion that was judged.
        said: an object with `verdict`, `bool`, `number`, `none` or `error`, as grading/user_entry.py writes it.
        threshold: from which number on a completion is correct.
        name: the grader's name.
    """
    make = partial(Verdict, completion.id, problem.id, decided_by=name)
    match said:
        case {"verdict": dict(fields)}:
            return _read_verdict(fields, make)
        case {"bool": bool(is_correct)}:
            return make("correct" if is_correct else "incorrect", float(is_correct))
        case {"number": int() | float() as number} if math.isfinite(number):
            return make("correct" if number >= threshold else "incorrect", float(number))
        case {"none": True}:
            return make("undecided", None, note="the grader returned None")
        case {"error": str(why)}:
            return make("error", None, note=why)
    return make("error", None, note="the grader's worker said nothing that can be read")


def _read_verdict(fields: dict[str, Any], make: Callable[..., Verdict]) -> Verdict:
    """The user's own `Verdict`, its ids replaced by the right ones."""
    outcome, score = fields.get("outcome"), fields.get("score")
    if outcome not in OUTCOMES:
        return make("error", None, note=f"unknown outcome {outcome!r}")
    is_number = isinstance(score, int | float) and not isinstance(score, bool)
    if score is not None and not (is_number and math.isfinite(score)):
        return make("error", None, note=f"the grader's score is {score}")
    answer, verdict = fields.get("answer"), make(outcome, score)
    return replace(
        verdict, answer=None if answer is None else str(answer), method=str(fields.get("method") or ""),
        note=str(fields.get("note") or ""), decided_by=str(fields.get("decided_by") or verdict.decided_by),
    )  # fmt: skip


def _row(problem: Problem, completion: Completion) -> dict[str, Any]:
    return {"problem": problem.to_json(), "completion": completion.to_json()}


def _not_sampled(problem: Problem, completion: Completion, name: str) -> Verdict:
    outcome: Outcome = "error"
    return Verdict(
        completion.id, problem.id, outcome, None, decided_by=name, note=completion.note or "the sampler failed"
    )


def load_grader(spec: str | Callable[..., Any], options: GraderOptions = GraderOptions()) -> CompletionGrader:
    """The grader that a spelling names.

    Args:
        spec: `exact`, the built-in one; or `FILE.py:FUNCTION`, a function of (problem, completion), a reward function
            in the style of TRL (it has a parameter `completions`) or of verl (`data_source`, `solution_str`,
            `ground_truth`). `trl:`, `trl-chat:` (prompts and completions are lists of messages), `verl:` or `plain:`
            before it settles the style. A function of a module may be given itself.
        options: how it is run.

    Raises:
        InputError: no such grader, file or function, or the file fails when it is loaded.
        SandboxUnavailable: `isolation` is `sandbox` and no tier is safe here.
    """
    if spec == "exact":
        return Grader(symbolic=options.symbolic, workers=options.workers)
    style, path, function = _parse(spec if isinstance(spec, str) else _spelling(spec))
    name = spec if isinstance(spec, str) else f"{path}:{function}"
    version = hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    entry = f"{ENTRY} {json.dumps([str(path), function, style])}"
    jail = LazyJail(partial(_open, entry, str(path.parent), options.isolation, options.workers))
    about = _describe(jail, entry, path, function)
    return UserGrader(name, version, about["style"], jail, entry, options)


def _spelling(function: Callable[..., Any]) -> str:
    """`FILE.py:FUNCTION` of a function object."""
    name, file = getattr(function, "__qualname__", ""), inspect.getsourcefile(function) if callable(function) else None
    if not name.isidentifier() or not file:
        raise InputError(
            "The grader cannot be loaded by its worker", seen=name or repr(function),
            expected="a function at the top level of a file", advice="move it to a file of its own",
        )  # fmt: skip
    return f"{file}:{name}"


def _parse(spec: str) -> tuple[str | None, Path, str]:
    """Style (None: look at the function), file and function."""
    head, separator, rest = spec.partition(":")
    style, rest = (head, rest) if separator and head in STYLES else (None, spec)
    file, _, name = rest.rpartition(":")
    if not file or not name.isidentifier() or not file.endswith(".py"):
        raise InputError(
            "Unknown grader", seen=spec, expected=EXPECTED,
            advice="write a function of (problem, completion) and name its file and itself",
        )  # fmt: skip
    path = Path(file).expanduser()
    if not path.is_file():
        raise InputError(
            "The grader's file does not exist", seen=str(path), expected="a Python file", advice="check the path"
        )
    return style, path.resolve(), name


def _describe(jail: LazyJail, entry: str, path: Path, function: str) -> dict[str, str]:
    """What the worker says of the function once it has loaded it.

    Raises:
        InputError: it has not.
    """
    execution = jail.call(entry, b"", LOAD_LIMITS)
    try:
        about: dict[str, str] = json.loads(execution.stdout)
    except ValueError:
        about = {"failed": f"its worker did not start: {execution.stderr.strip()[-300:] or execution.status}"}
    if "missing" in about:
        raise InputError("The grader's file has no such function", seen=function, expected=f"a function in {path}",
                         advice="check its name")  # fmt: skip
    if "failed" in about:
        raise InputError(
            f"The grader's file fails: {about['failed']}", seen=str(path), expected="a file that imports",
            advice="run it alone to see where; if it needs files or the network, set grader_isolation=process",
        )  # fmt: skip
    return about


def _open(entry: str, folder: str, isolation: Isolation, workers: int) -> ClosableJail:
    """A jail whose processes have loaded the user's function."""
    if isolation != "process":
        try:
            return open_sandboxed((entry,), (folder,), workers)
        except SandboxUnavailable:
            if isolation == "sandbox":
                raise
    return open_process((entry,), (folder,), workers)
