"""What a user grader's child does: loads the user's function once, calls it, and writes down plainly what it said.

Entry module: runs only in a worker's process. The user's file is loaded when the worker starts; every batch runs in a
fresh child of it, so what the function changes (modules, globals, signal handlers) is gone after the batch. What it
prints goes to stderr.
Three styles are called unchanged, the arguments made from the records:

    plain   f(problem, completion) -> Verdict | bool | float | None
    trl     f(completions, **columns) -> list[float | None], with `prompts` and any column it names; also `async`
    verl    f(data_source, solution_str, ground_truth, extra_info) -> float | bool | {"score": ...}

`trl-chat` is `trl` with prompts and completions as lists of messages. An item is a list of rows: one row, except for
the trl styles, whose functions judge a batch at once.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import math
import numbers
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from tutelage.grading.worker_loop import Mark, run_items
from tutelage.records import Completion, Problem, Verdict

Row = dict[str, Any]
Said = dict[str, Any]
"""What the function said of one row: {"verdict"}, {"bool"}, {"number"}, {"none"} or {"error"}."""

Entry = Callable[[bytes, BinaryIO], None]

VERL_NAMES = ("data_source", "solution_str", "ground_truth")


def open_entry(spelling: str) -> Entry:
    """The worker's entry for the user's function: an empty payload asks what was loaded, any other is a batch.

    Args:
        spelling: JSON of the list of arguments of `open_user`.
    """
    run, describe = open_user(*json.loads(spelling))
    return lambda payload, out: run(payload, out) if payload else describe(payload, out)


def open_user(path: str, function: str, style: str | None = None) -> tuple[Entry, Entry]:
    """The worker's two entries for the user's function: run a batch, and describe what was loaded.

    Never raises: what the file raises when it is loaded, SystemExit too, is what `describe` tells.

    Args:
        path: the user's file.
        function: its name there.
        style: one of `JUDGES`; None looks at its parameters.
    """
    about: dict[str, str] = {}
    judge: Callable[[list[Row]], list[Any]] | None = None
    try:
        found = getattr(load(Path(path)), function, None)
        if callable(found):
            about["style"] = style or style_of(found)
            judge = JUDGES[about["style"]](found)
        else:
            about["missing"] = function
    except BaseException as error:  # boundary to the user's code
        about["failed"] = f"{type(error).__name__}: {error}"

    def run(payload: bytes, out: BinaryIO) -> None:
        if judge is None:
            raise RuntimeError(str(about))
        run_items(payload, out, lambda rows, mark: _judged(judge, rows, mark))

    def describe(payload: bytes, out: BinaryIO) -> None:
        out.write(json.dumps(about).encode())

    return run, describe


def load(path: Path) -> ModuleType:
    """The user's file as a module of its own name; what it raises passes through.

    Raises:
        ImportError: it is no Python file.
    """
    name = f"tutelage_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def style_of(function: Callable[..., Any]) -> str:
    """The style that a function's parameters show: verl's three names, `completions`, or neither."""
    names = _names(function)
    if set(VERL_NAMES) <= names:
        return "verl"
    return "trl" if "completions" in names else "plain"


def _names(function: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a function of an extension module has no signature
        return set()


class WrongShape(TypeError):
    """A function that judges many returned no list, or one of another length: no reward in it can be told apart."""


def _judged(judge: Callable[[list[Row]], list[Any]], rows: list[Row], mark: Mark) -> list[Said]:
    mark("called")
    try:
        return [_plainly(result) for result in judge(rows)]
    except WrongShape as error:
        return [{"error": str(error)}] * len(rows)


def _plainly(result: Any) -> Said:
    """What a function returned, as JSON that another process can trust to be plain."""
    if isinstance(result, Verdict):
        return {"verdict": {name: value for name, value in result.to_json().items() if _is_plain(value)}}
    if result is None:
        return {"none": True}
    if isinstance(result, bool) or type(result).__name__ in ("bool_", "bool"):
        return {"bool": bool(result)}
    if isinstance(result, dict):
        return _plainly(result["score"]) if "score" in result else {"error": "a dict without `score`"}
    if isinstance(result, numbers.Real) or hasattr(result, "item"):
        number = float(result)
        return {"number": number} if math.isfinite(number) else {"error": f"the grader returned {number}"}
    return {"error": f"the grader returned {type(result).__name__}, not a Verdict, bool, number or None"}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _plain(function: Callable[..., Any]) -> Callable[[list[Row]], list[Any]]:
    def judge(rows: list[Row]) -> list[Any]:
        return [function(Problem.from_json(r["problem"]), Completion.from_json(r["completion"])) for r in rows]

    return judge


def _verl(function: Callable[..., Any]) -> Callable[[list[Row]], list[Any]]:
    names = _names(function)

    def judge(rows: list[Row]) -> list[Any]:
        results = []
        for row in rows:
            problem = row["problem"]
            extra = {**_about(problem), **problem["metadata"]}
            words = {"data_source": problem["source"], "solution_str": row["completion"]["text"],
                     "ground_truth": problem["answer"], "extra_info": extra}  # fmt: skip
            results.append(_done(function(**_accepted(words, names, function))))
        return results

    return judge


def _trl(function: Callable[..., Any], *, is_chat: bool) -> Callable[[list[Row]], list[Any]]:
    names = _names(function)

    def judge(rows: list[Row]) -> list[Any]:
        words = _columns(rows)
        prompts, texts = [row["problem"]["question"] for row in rows], [row["completion"]["text"] for row in rows]
        if is_chat:
            words["prompts"] = [[{"role": "user", "content": prompt}] for prompt in prompts]
            words["completions"] = [[{"role": "assistant", "content": text}] for text in texts]
        else:
            words["prompts"], words["completions"] = prompts, texts
        words["completion_ids"] = [list(row["completion"]["token_ids"]) for row in rows]
        rewards = _done(function(**_accepted(words, names, function)))
        if not hasattr(rewards, "__len__") or isinstance(rewards, str | dict):
            raise WrongShape(f"the function returned {type(rewards).__name__}, not a list of {len(rows)} rewards")
        if len(rewards) != len(rows):
            raise WrongShape(f"the function returned {len(rewards)} rewards for {len(rows)} completions")
        return list(rewards)

    return judge


def _columns(rows: list[Row]) -> dict[str, Any]:
    """The columns that a data set would have: a problem's fields, and its metadata under their own names."""
    tables = [{**_about(row["problem"]), **row["problem"]["metadata"]} for row in rows]
    names = {name for table in tables for name in table}
    return {name: [table.get(name) for table in tables] for name in names}


def _about(problem: Row) -> dict[str, Any]:
    """`solution` is the worked solution, the answer where there is none; `ground_truth` and `answer` are the answer."""
    kept = ("question", "answer", "answer_kind", "subject", "level", "split", "source", "choices")
    return {
        **{name: problem[name] for name in kept}, "id": problem["id"], "ground_truth": problem["answer"],
        "solution": problem["solution"] or problem["answer"],
    }  # fmt: skip


def _accepted(words: dict[str, Any], names: set[str], function: Callable[..., Any]) -> dict[str, Any]:
    """Those of the arguments that the function can take."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return words
    return {name: value for name, value in words.items() if name in names}


def _done(result: Any) -> Any:
    """The result, waited for where it is a coroutine."""
    return asyncio.run(result) if inspect.iscoroutine(result) else result


JUDGES: dict[str, Callable[[Callable[..., Any]], Callable[[list[Row]], list[Any]]]] = {
    "plain": _plain,
    "verl": _verl,
    "trl": lambda function: _trl(function, is_chat=False),
    "trl-chat": lambda function: _trl(function, is_chat=True),
}
