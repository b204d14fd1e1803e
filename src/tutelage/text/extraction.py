r"""Finding the final answer in a completion.

The order is fixed (rule 14 of `tutelage.grading`): text after the last `</think>`; the last complete `\boxed`
or `\fbox`, boxes joined by commas, `and`, `or` making a list; the last complete `<answer>` tag; `####`; then sentence
markers (`Final answer:`, `the answer is`, `Answer:`, 答案是, 故选), the last one winning. A box overrules prose; an
unclosed box alone is no answer. The last number of a text is taken only if asked for: that reward can be hacked.

Linear in the length of the text: brackets are matched in one pass, and no pattern here repeats a repetition.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tutelage.records import AnswerKind, Choices
from tutelage.text.announced import end_of_answer, end_of_line_answer, is_empty, mentions_option

Method = Literal[
    "boxed", "boxed_list", "answer_tag", "hashes", "final_answer", "answer_is", "label", "last_number", "none"
]

_SPECIAL = re.compile(r"(?:<\|?[A-Za-z_][A-Za-z_0-9]{0,30}\|?>|</s>|\[(?:PAD|EOS)\]|<｜[^<>｜]{1,40}｜>)\Z")
_KEPT_TAGS = ("</answer>", "</think>", "<answer>", "<think>")
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{")
_TOKEN_BOX = re.compile(
    r"\\(?:boxed|fbox)\s+([0-9A-Za-z])(?=\s*(?:[$;)\]}]|[.,](?![0-9])|\\[)\]]|\\[bf]box|\\boxed|\Z))"
)
_GOLD_BOX = re.compile(r"\\(?:boxed|fbox)(?:\s*\{|\s+([^\s${}\\]+?)(?=[\s$.,]))")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_JOINT = re.compile(
    r"(?:[\s$,;&.()\[\]\\{}]|\\(?:text|mathrm|textrm|quad|qquad)(?![A-Za-z])"
    r"|\b(?:and|or|both|also|[a-zA-Z](?:_\{?\d\}?)?\s*=)(?![A-Za-z]))*"
)
_JOINT_WORD = re.compile(r",|;|\band\b|\bor\b")
_NO_PROSE = re.compile(r"(?:[^\w=<>≈≠→⇒\\]|\\(?:quad|qquad|[^A-Za-z])|[0-9]{1,3}[.)]|_)*")
"""What keeps two boxes apart without saying anything: space, delimiters, bullets."""
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
_HEADING = re.compile(
    r"[*\s]*(?:step|part|case|example|question|problem|solution|conclusion|summary|explanation|verification|check|given|"
    r"calculation|final answer|answer|note|method|approach)\b",
    re.IGNORECASE,
)
_MARKER = re.compile(
    r"(?P<final>\bfinal\s+(?:answer|result)s?\b[*_]*(?:\s*(?:is|are)\b|\s*[:：=])|\bfinal\s+answer\s*[*_]*\s*\n)"
    r"|(?P<is>\banswer(?:s)?\b(?:\s+to\s+(?:the|this)\s+(?:question|problem))?[*_]*(?:\s*(?:is|are)\b|\s*[:：=]"
    r"|\s+must\s+be\b(?=[\s*_:]*(?:[-$\\(]*[0-9](?![0-9]*-[A-Za-z])|\\|(?-i:[A-J])(?![A-Za-z])(?! [a-z]))))"
    r"|\b(?:correct|right|best)\s+(?:option|choice)\s*(?:is\b|[:：])"
    r"|答案\s*(?:是|为|應為|应为)?\s*[:：]?|(?:故选|应选)\s*[:：]?|答\s*[:：]|最终结果\s*(?:是|为)\s*[:：]?)",
    re.IGNORECASE,
)
_LABEL = re.compile(r"A:[ \t]*([^\n]+)")
_FILLER = re.compile(
    r"[\s*_:：]*(?:(?:therefore|thus|then|hence|simply|indeed|just|given by|as follows|option)\b[\s:,]*)*",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|\*|$)|。|！|\n")
_ABBREVIATION = re.compile(r"\b(?:[ap]\.?m|sq|cu|approx|vs|e\.g|i\.e|Mr|Mrs|Ms|Dr|St|No)\Z", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?<![0-9A-Za-z_.])-?\$?-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?(?:/[0-9]+)?%?"
)
_HEDGE = re.compile(
    r"\b(?:not|or|either|neither|maybe|perhaps|but|isn't|except|about|around|approximately|roughly|almost|nearly|possibly|"
    r"probably|at least|at most|(?:more|less|fewer|greater) than)\b|≠|≈|\\ne|\\approx",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"\b(?:from|to|of|after|in|at|for|by|than|on|within|before|with|until|the|over|between)\s+\$?[0-9][0-9,.:]*"
    r"(?:st|nd|rd|th)?%?(?![0-9])|(?<=[A-Za-z0-9] )[0-9]+-[A-Za-z]+",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z]{2,}")
_SCALE = re.compile(
    r"[ -]*(?:half|dozen|hundred|thousand|[mbtr]+illion|percent|per cent|pct|and a|[-+*/^])", re.IGNORECASE
)
_DISPLAY = (("\\[", "\\]"), ("$$", "$$"), ("\\(", "\\)"))
_MAX_TAKEN = 1_000
_MAX_MARKERS = 64


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was found: the answer or None, how, and its half-open span in the text.

    `is_delimited` says that the text itself shows where the answer ends (a closed box or tag, a line that goes on);
    `num_answers` counts the different answers that the same method found in the text.
    """

    answer: str | None
    method: Method
    span: tuple[int, int] = (0, 0)
    is_delimited: bool = False
    num_answers: int = 0


class _Box(NamedTuple):
    """Where a box starts and ends, and where its content does."""

    start: int
    end: int
    first: int
    last: int


NOTHING = Extraction(None, "none")


def extract(
    text: str,
    kind: AnswerKind | None = None,
    choices: Choices | None = None,
    *,
    last_number: bool = False,
) -> Extraction:
    """The final answer of a completion.

    Args:
        text: the completion, without its prompt; special tokens at its end are passed over.
        kind: the gold answer's kind; for `number`, a marked sentence with exactly one number in it gives that number.
        choices: the options of a multiple-choice question.
        last_number: fall back to the last number of the text; off for everything that is a reward.
    """
    start, end = _visible(text)
    if start >= end:
        return NOTHING
    found = _boxed(text, start, end)
    if found is None:
        is_choice = kind == "choice" or choices is not None
        found = _tagged(text, start, end) or _hashed(text, start, end)
        found = found or _marked(text, start, end, choices, is_choice=is_choice)
        if found is None and not is_choice:
            found = _labelled(text, start, end)
    if found is None or found.answer is None:
        if last_number and found is None:
            return _last_number(text, start, end)
        return found or NOTHING
    return _single_number(found) if kind == "number" and found.method not in ("boxed", "boxed_list") else found


def last_box(text: str) -> str | None:
    r"""The content of the last complete box of a worked solution (`\boxed 5` too); None where there is none.

    For golds as MATH publishes them: one box, not a list of joined ones.
    """
    closing = _matching_braces(text, 0, len(text))
    found: str | None = None
    for match in _GOLD_BOX.finditer(text):
        if match.group(1) is not None:
            found = match.group(1)
        elif match.end() - 1 in closing:
            found = text[match.end() : closing[match.end() - 1]]
    return found


def _visible(text: str) -> tuple[int, int]:
    """The span after the last closed thinking block and before an open one, without special tokens at the end."""
    end = len(text.rstrip())
    for _ in range(64):
        match = _SPECIAL.search(text, max(0, end - 48), end)
        if match is None or match.group() in _KEPT_TAGS:
            break
        end = len(text[: match.start()].rstrip())
    close = text.rfind("</think>", 0, end)
    start = close + len("</think>") if close >= 0 else 0
    opening = text.find("<think>", start, end)
    return start, opening if opening >= 0 else end


def _boxed(text: str, start: int, end: int) -> Extraction | None:
    """The last complete box; None where there is no box at all, `NOTHING` where none is complete or it is empty."""
    if text.find("box", start, end) < 0:
        return None
    openings = [match.end() - 1 for match in _BOX.finditer(text, start, end)]
    boxes = _closed_boxes(text, start, end)
    if not boxes:
        return NOTHING if openings else None
    group = _joined(text, boxes)
    answers = [_unnested(text[box.first : box.last]).strip() for box in group]
    distinct = len({_unnested(text[box.first : box.last]).strip() for box in boxes}) - len(set(answers)) + 1
    has_later = bool(openings) and openings[-1] > boxes[-1].end
    if not all(answers):
        return NOTHING
    if len(set(answers)) == 1 and not _JOINT_WORD.search(text, group[0].end, group[-1].start):
        group, answers = group[-1:], answers[-1:]  # one answer, boxed again
    span = (group[0].first, group[-1].last)
    method: Method = "boxed" if len(group) == 1 else "boxed_list"
    return Extraction(", ".join(answers), method, span, not has_later, distinct)


def _closed_boxes(text: str, start: int, end: int) -> list[_Box]:
    r"""The complete outermost boxes in order, `\boxed 3` with its one token among them."""
    closing: dict[int, int] | None = None
    found = [_Box(*match.span(), *match.span(1)) for match in _TOKEN_BOX.finditer(text, start, end)]
    for match in _BOX.finditer(text, start, end):
        closing = _matching_braces(text, match.end() - 1, end) if closing is None else closing
        brace = match.end() - 1
        if brace in closing:
            found.append(_Box(match.start(), closing[brace] + 1, brace + 1, closing[brace]))
    boxes: list[_Box] = []
    for box in sorted(found):
        if not boxes or box.start >= boxes[-1].end:
            boxes.append(box)
    return boxes


def _unnested(content: str) -> str:
    """The content of a box without the boxes inside it; what stands in them stays."""
    if "box" not in content:
        return content
    return _BOX.sub("{", content)


def _matching_braces(text: str, start: int, end: int) -> dict[int, int]:
    """Position of the closing brace for every opening one, in one pass."""
    stack: list[int] = []
    pairs: dict[int, int] = {}
    for match in _BRACE.finditer(text, start, end):
        token = match.group()
        if token == "{":
            stack.append(match.start())
        elif token == "}" and stack:
            pairs[stack.pop()] = match.start()
    return pairs


def _joined(text: str, boxes: list[_Box]) -> list[_Box]:
    """The last boxes, back to the first that words or a relation keep apart from the next; `and`, `or` do not."""
    first = len(boxes) - 1
    while first > 0:
        between = text[boxes[first - 1].end : boxes[first].start]
        is_listed = len(between) <= 60 and _JOINT_WORD.search(between) and _JOINT.fullmatch(between)
        if not is_listed and not _NO_PROSE.fullmatch(between):
            break
        first -= 1
    return boxes[first:]


def _tagged(text: str, start: int, end: int) -> Extraction | None:
    if text.find("<", start, end) < 0:
        return None
    lower = text[start:end].lower()
    close = lower.rfind("</answer>")
    opening = lower.rfind("<answer>", 0, close) if close >= 0 else -1
    if opening < 0:
        return NOTHING if "<answer>" in lower else None
    first, last = start + opening + len("<answer>"), start + close
    inner = _hashed(text, first, last) or _marked(text, first, last)
    if inner is not None and inner.answer is not None:
        return Extraction(inner.answer, "answer_tag", inner.span, True, lower.count("</answer>"))
    answer = text[first:last].strip()
    return Extraction(answer, "answer_tag", (first, last), True, lower.count("</answer>")) if answer else NOTHING


def _hashed(text: str, start: int, end: int) -> Extraction | None:
    found: list[tuple[str, int, int]] = []
    for match in _HASHES.finditer(text, start, end):
        line = match.group(1).strip().strip("*#").strip()
        if line and not line.endswith(":") and not _HEADING.match(line) and not is_empty(line):
            found.append((line, match.start(1), match.end(1)))
    if not found:
        return None
    answer, first, last = found[-1]
    if not text[last:end].strip():
        answer = answer[: end_of_line_answer(answer)]  # a heading (`#### 3. Add all 3`) has more below it
    return Extraction(_tidy(answer), "hashes", (first, last), last < len(text), len({line for line, _, _ in found}))


def _marked(
    text: str, start: int, end: int, choices: Choices | None = None, *, is_choice: bool = False
) -> Extraction | None:
    """What follows the last marker that is followed by something; markers inside one sentence count as one.

    In multiple choice a sentence in which no option is named (`This answer is justified by`) is passed over.
    """
    found: list[Extraction] = []
    answers: set[str] = set()
    consumed = start
    for match in list(_MARKER.finditer(text, start, end))[-_MAX_MARKERS:]:
        if found and match.start() < consumed:
            found.pop()  # "Final answer: the answer is 5": the inner marker is nearer
        taken = _take(text, match.end(), end)
        if taken is None:
            continue
        first, consumed = taken
        last = end_of_answer(text, first, consumed)
        answer = _tidy(text[first:last])
        if text.endswith("**", start, first):
            answer = answer.replace("**", "")  # what was bold from before the answer on
        if not answer or is_empty(answer):
            continue
        answers.add(answer)
        method: Method = "final_answer" if match.lastgroup == "final" else "answer_is"
        found.append(Extraction(answer, method, (first, last), last < len(text), 0))
    if not found:
        return None
    best = found[-1]
    if is_choice:
        best = next((one for one in reversed(found) if mentions_option(one.answer or "", choices)), best)
    return Extraction(best.answer, best.method, best.span, best.is_delimited, len(answers))


def _take(text: str, position: int, end: int) -> tuple[int, int] | None:
    """The span from a marker to the end of its sentence, line or displayed formula."""
    filler = _FILLER.match(text, position, end)
    first = filler.end() if filler else position
    if first >= end:
        return None
    for opening, closing in _DISPLAY:
        if text.startswith(opening, first):
            close = text.find(closing, first + 2, min(end, first + _MAX_TAKEN))
            if close >= 0:
                return first, close + len(closing)
    limit = min(end, first + _MAX_TAKEN)
    scan = first
    while True:
        match = _SENTENCE_END.search(text, scan, limit)
        if match is None:
            return first, limit
        if match.group() == "." and _ABBREVIATION.search(text, max(first, match.start() - 6), match.start()):
            scan = match.end()
            continue
        is_asked = match.group() == "?" and text[first : match.start()].strip()
        return first, match.end() if is_asked else match.start()  # `The answer is 7?` announces nothing


def _labelled(text: str, start: int, end: int) -> Extraction | None:
    """`A: 26` as the last line of the text (the format of OpenAI's GSM8K solutions)."""
    line = text.rfind("\n", start, end) + 1
    match = _LABEL.fullmatch(text, max(line, start), end)
    return None if match is None else Extraction(_tidy(match.group(1)), "label", match.span(1), end < len(text), 1)


def _last_number(text: str, start: int, end: int) -> Extraction:
    last = None
    for last in _NUMBER.finditer(text, start, end):  # noqa: B007  the last one is wanted
        pass
    return NOTHING if last is None else Extraction(last.group(), "last_number", last.span(), False, 1)


def _single_number(found: Extraction) -> Extraction:
    """A marked sentence with one number and no hedge gives the number: `The answer is that she pays $18 in all`."""
    answer = found.answer or ""
    is_plain = len(answer) <= _MAX_TAKEN and not any(sign in answer for sign in "\\=?")
    if not is_plain or not _WORD.search(answer) or _HEDGE.search(answer):
        return found
    main = _ASIDE.sub(" ", answer)
    numbers = list(_NUMBER.finditer(main))
    if len(numbers) != 1:
        return found
    rest = main[numbers[0].end() :]
    if _SCALE.match(rest) or (numbers[0].start() == 0 and len(_WORD.findall(rest)) < 2):
        return found  # a plain unit; the checker reads those
    return Extraction(numbers[0].group(), found.method, found.span, found.is_delimited, found.num_answers)


def _tidy(answer: str) -> str:
    """Markdown and sentence marks around an answer removed."""
    answer = answer.strip()
    for _ in range(4):
        before = answer
        answer = answer.strip("*_` \t\r\n").rstrip("。,;").strip()
        if answer.endswith(".") and not answer.endswith(".."):
            answer = answer[:-1]
        if answer == before:
            break
    return answer
