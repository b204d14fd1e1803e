"""Solutions that compute: prose, a program, or prose that hands its computation to programs.

Three styles: `cot` has no program, `pot` is a program, `mixed` is prose with programs in it. A program stands in a
fence (```` ```python ````), its output in an output fence after it, or it is the whole text (the built-in model's form
after `program:`). The style is read from the text, never assumed. Nothing is run here.

Source: MAmmoTH (arXiv 2309.05653) for program-of-thoughts, ToRA (arXiv 2309.17452) for the fences.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Style = Literal["cot", "pot", "mixed"]
STYLES: tuple[Style, ...] = ("cot", "pot", "mixed")
Asked = Literal["cot", "pot", "mixed", "any"]
"""What a model is asked for: a style, or `any`: asked as for prose, and what programs it writes unasked are run."""

FENCE = "```"
PROGRAM_OPEN = "```python\n"
OUTPUT_OPEN = "```output\n"
PAUSES = ("\n```\n", OUTPUT_OPEN)
"""Where a solution is interrupted to see whether a program has just ended: a block's end, or an output's opening."""
MAX_SHOWN = 2000
"""Most characters of an output that are put into a solution: the end of a longer one is what counts."""

NOTE = "programs: "
"""Begins the part of a record's note that names how its programs ended."""

_OPENING = re.compile(r"^[ \t]*```[ \t]*([A-Za-z0-9_+-]*)[^\S\n]*$", re.MULTILINE)
_CLOSING = re.compile(r"^[ \t]*```[ \t]*$", re.MULTILINE)
_PYTHON = ("python", "py", "python3", "Python")
_ANSWER_LINE = re.compile(
    r"^\W*(?:(?:so|thus|therefore)\W+)?(?:the\s+)?(?:final\s+)?answer\b.*$|^.*\\boxed\s*\{.*$|^\s*####.*$", re.I | re.M
)


@dataclass(frozen=True)
class Program:
    """A program in a text.

    Args:
        source: its Python source.
        start, end: where it stands in the text, its fences included, half-open.
        is_closed: whether its end is there: the closing fence, or the end of a text that is nothing but a program.
        output: what stands in the output block after it; None where there is none, or it is not closed.
    """

    source: str
    start: int
    end: int
    is_closed: bool
    output: str | None = None


@dataclass(frozen=True)
class Solution:
    """A solution taken apart.

    Args:
        style: what it is.
        programs: in order.
        prose: what stands outside of programs and outputs, without an answer line at the end.
        conclusion: what stands after the last program and its output.
    """

    style: Style
    programs: tuple[Program, ...]
    prose: str
    conclusion: str

    @property
    def pending(self) -> Program | None:
        """The last program if it has ended and its output is not there."""
        last = self.programs[-1] if self.programs else None
        return last if last is not None and last.is_closed and last.output is None else None


@dataclass(frozen=True)
class _Block:
    language: str
    body: str
    start: int
    end: int
    is_closed: bool


def read_solution(text: str) -> Solution:
    """A solution's style and parts. Total: any text gives one."""
    blocks = _blocks(text)
    programs, spans = [], []
    for place, block in enumerate(blocks):
        if block.language == "output" or not _is_program(block):
            continue
        after = blocks[place + 1] if place + 1 < len(blocks) else None
        is_output = after is not None and after.language == "output" and not text[block.end : after.start].strip()
        output = after.body.removesuffix("\n") if is_output and after is not None and after.is_closed else None
        programs.append(Program(block.body, block.start, block.end, block.is_closed, output))
        spans.append((block.start, after.end if is_output and after is not None else block.end))
    if not programs:
        return _bare(text, blocks) or Solution("cot", (), text, text)
    prose = _without(text, spans)
    conclusion = text[spans[-1][1] :]
    reasoning = _ANSWER_LINE.sub("", prose).strip()
    return Solution("mixed" if reasoning else "pot", tuple(programs), reasoning, conclusion)


def _bare(text: str, blocks: Sequence[_Block]) -> Solution | None:
    """A program without a fence, with its output if that was put in."""
    has_output = bool(blocks) and blocks[0].language == "output"
    end = blocks[0].start if has_output else len(text)
    if (blocks and not has_output) or not is_bare_program(text[:end]):
        return None
    output = blocks[0].body.removesuffix("\n") if has_output and blocks[0].is_closed else None
    program = Program(text[:end].strip("\n"), 0, end, True, output)
    return Solution("pot", (program,), "", text[blocks[0].end :] if has_output else "")


def is_bare_program(text: str) -> bool:
    """Whether a whole text is a program that says something: it parses, and prints or sets `answer`."""
    if len(text) > 20_000 or not ("print" in text or "answer" in text):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            return True
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "answer" for t in node.targets):
            return True
    return False


def output_block(shown: str, *, opened: bool = False) -> str:
    """The output of a program as it is put in after it, up to the end of its block.

    Args:
        shown: what is shown of it; a fence in it, which would end the block, is broken up.
        opened: whether the block's opening stands there already.
    """
    body = shown.replace(FENCE, "'''").strip("\n")
    if len(body) > MAX_SHOWN:
        body = "..." + body[-MAX_SHOWN:]
    return ("" if opened else OUTPUT_OPEN) + (f"{body}\n" if body else "") + f"{FENCE}\n"


def fenced(source: str) -> str:
    """A program in its fence, with a line break after it."""
    return f"{PROGRAM_OPEN}{source.strip(chr(10))}\n{FENCE}\n"


def status_note(ended: Sequence[str]) -> str:
    """How a solution's programs ended, as its record's note holds it; "" where none was run."""
    return NOTE + ", ".join(ended) if ended else ""


def statuses(note: str) -> tuple[str, ...]:
    """The statuses that `status_note` put into a note, in order."""
    found = next((part for part in note.split("; ") if part.startswith(NOTE)), "")
    return tuple(found.removeprefix(NOTE).split(", ")) if found else ()


@dataclass(frozen=True)
class Part:
    """A piece of a worked solution: written by the model, or put in by a tool and then not to be learnt."""

    text: str
    kind: Literal["model", "tool"]


def parts_of(text: str) -> tuple[Part, ...]:
    """A worked solution as pieces, its outputs told apart; the texts joined are the whole.

    A piece that a model writes ends where it would be interrupted: after the program's closing fence.
    """
    blocks = [b for b in _blocks(text) if b.language == "output" and b.is_closed]
    pieces: list[Part] = []
    at = 0
    for block in blocks:
        end = block.end + (text[block.end : block.end + 1] == "\n")
        pieces += [Part(text[at : block.start], "model"), Part(text[block.start : end], "tool")]
        at = end
    return tuple(piece for piece in (*pieces, Part(text[at:], "model")) if piece.text)


def _blocks(text: str) -> list[_Block]:
    """Fenced blocks in order; one that is not closed reaches to the end."""
    found, at = [], 0
    while (opening := _OPENING.search(text, at)) is not None:
        begin = min(opening.end() + 1, len(text))
        closing = _CLOSING.search(text, begin)
        stop = closing.start() if closing else len(text)
        at = closing.end() if closing else len(text)
        found.append(_Block(opening[1], text[begin:stop], opening.start(), at, closing is not None))
        if closing is None:
            break
    return found


def _is_program(block: _Block) -> bool:
    if block.language in _PYTHON:
        return True
    return block.language == "" and block.is_closed and is_bare_program(block.body)


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    kept, at = [], 0
    for start, end in spans:
        kept.append(text[at:start])
        at = end
    return "".join([*kept, text[at:]])
