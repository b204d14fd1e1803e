"""Programs and mixed solutions made from worked solutions, and records made from solutions with programs.

    prose with calculations   "48/2 = <<48/2=24>>24 clips"   a program of its calculations, a mixed solution
    a program                                               itself; a mixed solution with an empty analysis
    prose, program, output    fences (ToRA)                 a record {analysis, code, exec_output, ...}

A calculation is read by a small parser, never evaluated as Python here. What cannot be converted is left as it is, and
counted by reason; a conversion is kept only if its result is the gold answer.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from tutelage.records import Problem
from tutelage.text.programs import fenced, output_block, read_solution

_CALCULATION = re.compile(r"<<([^<>=\n]*)=([^<>=\n]*)>>")
_RESULT = re.compile(r"[ \t]*=[ \t]*\$?[ \t]*<<[^<>\n]*>>[ \t]*[-+]?[0-9][0-9,]*(?:\.[0-9]+)?%?")
_NUMBER = re.compile(r"(?<![A-Za-z0-9_.])[0-9]+(?:\.[0-9]+)?(?![A-Za-z0-9_.])")
MAX_CALCULATIONS, MAX_LENGTH, MAX_POWER = 100, 300, 64
TOLERANCE = Fraction(1, 1000)
"""How far a written result may be from the calculated one, and a program's last result from the gold: rounding."""


@dataclass(frozen=True)
class Calculation:
    """One written calculation: what stands left of its sign of equality, and the result as written."""

    expression: str
    result: Fraction


class NotConverted(ValueError):
    """Why a solution could not be converted; its text is the reason, one of few."""


def convert(problems: Iterable[Problem]) -> tuple[list[Problem], dict[str, int]]:
    """Problems with `metadata["program"]` and `metadata["mixed"]` where they could be made.

    Returns:
        All problems in their order, and how many could not be converted, by reason.
    """
    made, dropped = [], Counter[str]()
    for problem in problems:
        if problem.metadata.get("program") and problem.metadata.get("mixed"):
            made.append(problem)
            continue
        try:
            made.append(converted(problem))
        except NotConverted as reason:
            dropped[str(reason)] += 1
            made.append(problem)
    return made, dict(dropped)


def converted(problem: Problem) -> Problem:
    """A problem with a program and a mixed solution.

    Raises:
        NotConverted: its solution cannot be.
    """
    if problem.metadata.get("program"):
        program, analysis = str(problem.metadata["program"]), ""
    elif not problem.solution:
        raise NotConverted("no solution")
    else:
        solution = read_solution(problem.solution)
        if solution.programs:
            program, analysis = solution.programs[-1].source, solution.prose
        else:
            program = program_of(problem.solution, problem.answer)
            analysis = analysis_of(problem.solution)
    mixed = f"{analysis.strip()}\n{fenced(program)}{output_block(problem.answer)}".lstrip("\n")
    return replace(problem, metadata={**problem.metadata, "program": program.strip("\n"), "mixed": mixed})


def program_of(solution: str, answer: str) -> str:
    """The program of a solution's calculations, one variable each; a number that was calculated is its variable.

    Args:
        solution: with calculations as `<<48/2=24>>`.
        answer: the gold, which the last result must equal.

    Raises:
        NotConverted: no calculation, one that cannot be read or is wrong, or another result than the gold.
    """
    calculations = calculations_of(solution)
    names: dict[Fraction, str] = {}
    rows = []
    for number, calculation in enumerate(calculations, start=1):
        rows.append(f"x{number} = {_with_names(calculation.expression, names)}")
        names[calculation.result] = f"x{number}"
    gold = _read_number(answer)
    if gold is None:
        raise NotConverted("the gold is no number")
    if not _is_near(calculations[-1].result, gold):
        raise NotConverted("the last result is not the gold")
    last = f"x{len(rows)}"
    whole = gold.denominator == 1
    return "\n".join([*rows, f"print(round({last}))" if whole else f"print(round({last}, 6))"])


def analysis_of(solution: str) -> str:
    """The reasoning of a solution without the results of its calculations, which a program is to find."""
    return _CALCULATION.sub("", _RESULT.sub("", solution)).strip()


def calculations_of(solution: str) -> list[Calculation]:
    """The calculations of a solution in order, each checked.

    Raises:
        NotConverted: there is none, or one cannot be read, or its result is wrong.
    """
    found = _CALCULATION.findall(solution)
    if not found:
        raise NotConverted("no calculation")
    if len(found) > MAX_CALCULATIONS:
        raise NotConverted("too many calculations")
    made = []
    for left, right in found:
        expression = _tidy(left)
        value, said = evaluate(expression), _read_number(right)
        if value is None or said is None:
            raise NotConverted("a calculation cannot be read")
        if not _is_near(value, said):
            raise NotConverted("a calculation is wrong")
        made.append(Calculation(expression, said))
    return made


def evaluate(expression: str) -> Fraction | None:
    """The exact value of an expression of numbers with + - * / ** and parentheses; None for anything else."""
    if len(expression) > MAX_LENGTH:
        return None
    try:
        return _value(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError, OverflowError):
        return None


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return Fraction(str(node.value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div):
            return left / right
        if isinstance(node.op, ast.Pow) and right.denominator == 1 and abs(right) <= MAX_POWER and abs(left) < 10**6:
            return Fraction(left ** int(right))
    raise ValueError("no arithmetic")


def _tidy(expression: str) -> str:
    """As Python writes it: no separators of thousands, no currency; a percentage is a fraction of 100."""
    text = expression.replace("$", "").replace("x", "*").replace("×", "*").replace("÷", "/")
    text = re.sub(r"(?<=[0-9]),(?=[0-9]{3})", "", text)
    text = re.sub(r"([0-9]+(?:\.[0-9]+)?)%", r"(\1/100)", text)
    text = re.sub(r"(?<![0-9.])0+(?=[0-9])", "", text)
    return " ".join(text.split())


def _read_number(text: str) -> Fraction | None:
    text = text.strip().replace(",", "").replace("$", "")
    is_percent = text.endswith("%")
    try:
        value = Fraction(text.removesuffix("%"))
    except (ValueError, ZeroDivisionError):
        return None
    return value / 100 if is_percent else value


def _with_names(expression: str, names: dict[Fraction, str]) -> str:
    return _NUMBER.sub(lambda found: names.get(Fraction(found[0]), found[0]), expression)


def _is_near(value: Fraction, said: Fraction) -> bool:
    return abs(value - said) <= TOLERANCE * max(Fraction(1), abs(said))


def solution_record(problem_id: str, question: str, text: str, *, answer: str = "") -> dict[str, Any]:
    """A solution with or without programs as a record that other projects read.

    Returns:
        `{id, question, answer, analysis, code, exec_output, final_answer, style}`; programs and outputs are joined by
        blank lines where there are several, and null where there is none.
    """
    solution = read_solution(text)
    outputs = [program.output for program in solution.programs if program.output is not None]
    return {
        "id": problem_id, "question": question, "answer": answer, "analysis": solution.prose.strip(),
        "code": _joined([program.source.strip("\n") for program in solution.programs]),
        "exec_output": _joined(outputs), "final_answer": solution.conclusion.strip() or None, "style": solution.style,
    }  # fmt: skip


def _joined(texts: Sequence[str]) -> str | None:
    return "\n\n".join(texts) if texts else None
