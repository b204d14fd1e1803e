"""The equations of a worked solution: what tells one way of reasoning from another where no program was written.

    key(path) = its equations without spaces, in order, joined by "|"          3+4=7 and 4+3=7 differ

What it is: `<<lhs=rhs>>` annotations where a text has any; else every `a + b = c` that stands in its lines, in LaTeX or
plain signs, with units, currency and thousands separators left aside. Values are computed by our own guarded evaluator
(`text.rationals`), never by `eval`: texts are a model's.
What it is not: an algebra system; equations with unknowns are not read.

Source: RFT, arXiv 2308.01825 §3.2 and its code. Deviations: there, all paths without equations share the empty key, so
that one of them is kept; here such a path is known by its text. Equations of texts without annotations are ours.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from tutelage.text.expressions import parse_expression
from tutelage.text.rationals import rational

TOLERANCE = Fraction(1, 1000)
"""Largest |lhs - rhs| of an equation that holds. Source: the code of arXiv 2308.01825."""
MAX_TEXT, MAX_LINE, MAX_SIDE = 20_000, 4_000, 200
"""Characters of a text, of a line and of one side of an equation that are read."""
_MAX_PARTS, UNKNOWN = 40, "?"
_ANNOTATION = re.compile(r"<<([^<>\n]{1,200})>>")
_REPLACED: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"^\s*[-*•]\s+"), ""),
    (re.compile(r"\\[dtc]?frac\s*\{\s*([\d.]+)\s*\}\s*\{\s*([\d.]+)\s*\}"), r"(\1/\2)"),
    (re.compile(r"\\[dtc]?frac\s*\{([^{}]{1,60})\}\s*\{([^{}]{1,60})\}"), r"((\1)/(\2))"),
    (re.compile(r"\\(?:text|mathrm|textbf|mbox)\s*\{[^{}]{0,80}\}"), " "),
    (re.compile(r"(?<=[\d%)])\s+of\s+(?=[\d$(])"), "*"),
    (re.compile(r"/\s*(?=[A-Za-z])[A-Za-z]+"), " "),
    (re.compile(r"\\times|\\cdot|×|·|✕|(?<=[0-9)\s])[xX](?=\s*[\d(.$])"), "*"),
    (re.compile(r"\\div|÷"), "/"),
    (re.compile(r"\*\*(?=\s*[\d(])(?<=[\d)\s]\*\*)"), "^"),
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""),
    (re.compile(r"\\[%$]|[−–]"), lambda found: "%" if "%" in found[0] else " " if "$" in found[0] else "-"),
    (re.compile(r"\\left|\\right|\\[()\[\],;! ]|[$€£`]|\*\*"), " "),
]  # fmt: skip
_TOKEN = re.compile(r"(\d{1,30}(?:\.\d{1,30})?|\.\d{1,30})(\s*%)?|([-+*/^()])|(=)|([A-Za-z°'’²]+)|(\s+)|(.)", re.DOTALL)


@dataclass(frozen=True)
class Equation:
    """One equation as written, without spaces.

    `holds` is whether both sides have a value and these differ by less than `TOLERANCE`.
    """

    text: str
    holds: bool


def equations_of(text: str) -> tuple[Equation, ...]:
    """The equations of a text in order: its annotations, or those of its lines where it has none."""
    head = text[:MAX_TEXT]
    annotated = _ANNOTATION.findall(head)
    if annotated:
        return tuple(read_equation(part) for part in annotated)
    return tuple(equation for line in head.splitlines() if "=" in line for equation in _in_line(line))


def all_hold(equations: tuple[Equation, ...]) -> bool:
    """Whether every equation holds; true of none at all."""
    return all(equation.holds for equation in equations)


def path_key(text: str) -> str:
    """The key of a path of reasoning: its equations, or its whole text where there are none.

    >>> path_key("He has <<3 + 4 = 7>>7, so <<7*2=14>>14.")
    '3+4=7|7*2=14'
    >>> path_key("It is seven.")
    'text:It is seven.'
    """
    found = equations_of(text)
    return "|".join(equation.text for equation in found) if found else "text:" + " ".join(text.split())


@functools.lru_cache(maxsize=1 << 15)
def read_equation(written: str) -> Equation:
    """An annotation's equation; of `a=b=c` the first and the last side are compared, as in the source's code."""
    text = "".join(written.split())
    sides = text.split("=")
    return Equation(text, len(sides) >= 2 and _agree(sides[0], sides[-1]))


def _agree(left: str, right: str) -> bool:
    values = _value(left), _value(right)
    if values[0] is None or values[1] is None:
        return False
    # `0.4 * 100 = 40%` and `0.4 = 40%` are both written.
    hundredfold = right.endswith("%") and abs(values[0] - 100 * values[1]) < TOLERANCE
    return abs(values[0] - values[1]) < TOLERANCE or hundredfold


@functools.lru_cache(maxsize=1 << 15)
def _value(side: str) -> Fraction | None:
    """The value of one side, `%` a hundredth; None where it has none or is too large."""
    if len(side) > MAX_SIDE:
        return None
    plain = re.sub(r"(\d+(?:\.\d+)?|\.\d+)%", r"(\1/100)", side.replace(",", "").replace("$", "").replace("**", "^"))
    tree = parse_expression(re.sub(r"//", "/", plain)) if plain else None
    return None if tree is None else rational(tree)


@functools.lru_cache(maxsize=1 << 15)
def _in_line(line: str) -> tuple[Equation, ...]:
    line = line[:MAX_LINE]
    for pattern, by in _REPLACED:
        line = pattern.sub(by, line)
    sides = [_Side()]
    for number, percent, sign, equals, word, blank, other in _TOKEN.findall(line):
        if equals:
            sides.append(_Side())
        elif number:
            sides[-1].number(number + percent.strip())
        elif sign:
            sides[-1].sign(sign)
        elif word or other:
            sides[-1].word(word)
        del blank
    found = []
    for left, right in itertools.pairwise(sides):
        written = left.end()
        result = right.start(written)
        if written and result and re.search(r"[\d)%][-+*/^]", written) and _value(written) is not None:
            found.append(Equation(f"{written}={result}", _agree(written, result)))
    return tuple(found)


class _Side:
    """One side of an `=` in prose: runs of arithmetic, cut where something else stands.

    A word after a number is its unit and does not end the run; a word before one, or two numbers in a row, do. A single
    letter is an unknown, and a word before a bracket a function: the run with it has no value.
    """

    def __init__(self) -> None:
        self.runs: list[list[str]] = [[]]
        self._follows_word = False

    def _last(self) -> str:
        return self.runs[-1][-1] if self.runs[-1] else ""

    def _is_after_number(self) -> bool:
        last = self._last()
        return bool(last) and (last[-1].isdigit() or last[-1] in ")%")

    def number(self, text: str) -> None:
        """Add a number; right after another one it may be a mixed fraction, and the run has no value."""
        if self._is_after_number():
            self.runs.append([] if self._follows_word else [UNKNOWN])
        self.runs[-1].append(text)
        self._follows_word = False

    def sign(self, text: str) -> None:
        """Add an operator or a bracket; an opening one after a number is a product or a remark, so it begins a run."""
        if text == "(" and self._follows_word:
            self.runs.append([UNKNOWN])
        elif text == "(" and self._is_after_number():
            self.runs.append([])
        self.runs[-1].append(text)
        self._follows_word = False

    def word(self, text: str) -> None:
        """End the run, unless the word is the unit of a number; a sign that is no word has the empty text."""
        if (len(text) == 1 and text.isalpha()) or text == "of":
            self.runs[-1].append(UNKNOWN)
        elif not (text and self._is_after_number()):
            self.runs.append([])
        self._follows_word = bool(text)

    def end(self) -> str:
        """The arithmetic that this side ends with: what stands before `=`."""
        parts = self.runs[-1]
        depth = 0
        for index in range(len(parts) - 1, -1, -1):
            depth += (parts[index] == ")") - (parts[index] == "(")
            if depth < 0:
                parts = parts[index + 1 :]
                break
        while parts and parts[0] in "+*/^)":
            parts = parts[1:]
        return "".join(parts)

    def start(self, left: str) -> str:
        """What this side begins with, a number or arithmetic: the longest that equals `left`, or else the longest."""
        parts = next((run for run in self.runs if run), [])[:_MAX_PARTS]
        if UNKNOWN in parts:
            return ""
        texts = ["".join(parts[:length]) for length in range(len(parts), 0, -1)]
        valued = [text for text in texts if _value(text) is not None]
        return next((text for text in valued if _agree(left, text)), valued[0] if valued else "")
