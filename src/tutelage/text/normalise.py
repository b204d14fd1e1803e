"""One spelling for answers that are written in many: LaTeX, Unicode, Markdown or plain text.

What it is: string rewriting that keeps the meaning, in linear time, on at most `MAX_ANSWER` characters.
What it is not: a parser; nothing is evaluated here. Case is kept (a variable `x` is not `X`), and so is the space after
a comma (`32, 349` is a list, `32,349` a number).
"""

from __future__ import annotations

import re

MAX_ANSWER = 400
"""Longest answer in characters that is read at all."""
MAX_NESTING = 64
"""Deepest bracket nesting of an answer that is read at all."""

_UNICODE = {
    "−": "-", "–": "-", "—": "-", "‒": "-", "‐": "-", "‑": "-", "﹣": "-", "－": "-", "＋": "+", "＝": "=", "／": "/",
    "⁄": "/", "∕": "/", "×": r"\times ", "✕": r"\times ", "÷": r"\div ", "·": r"\cdot ", "⋅": r"\cdot ", "•": r"\cdot ",
    "∗": "*", "π": r"\pi ", "θ": r"\theta ", "∞": r"\infty ", "√": r"\sqrt ",
    "∛": r"\sqrt[3]", "∜": r"\sqrt[4]", "°": r"\degree ", "º": r"\degree ",
    "≤": r"\le ", "≥": r"\ge ", "≦": r"\le ", "≧": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∪": r"\cup ",
    "∩": r"\cap ", "∅": r"\emptyset ", "∈": r"\in ", "±": r"\pm ", "…": r"\ldots ", "⋯": r"\ldots ", "，": ",",
    "、": ",", "；": ";", "：": ":", "∶": ":", "．": ".", "。": ".", "（": "(", "）": ")", "［": "[", "］": "]",
    "｛": "{", "｝": "}", "％": "%", "＄": r"\$", "＜": "<", "＞": ">", "！": "!", "’": "'", "‘": "'", "′": "'",
    "“": '"',
    "”": '"', "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u3000": " ", "\u200b": "", "\ufeff": "", "\t": " ",
    "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
    "⅕": r"\frac{1}{5}", "⅛": r"\frac{1}{8}", "℃": "°C", "℉": "°F", "∘": r"\degree ",
}  # fmt: skip
_UNICODE |= {chr(0xFF10 + i): str(i) for i in range(10)}
_TRANSLATION = str.maketrans(_UNICODE)

_COMMANDS = {
    "dfrac": r"\frac", "tfrac": r"\frac", "cfrac": r"\frac", "leq": r"\le", "leqslant": r"\le", "geq": r"\ge",
    "geqslant": r"\ge", "neq": r"\ne", "lt": "<", "gt": ">", "varnothing": r"\emptyset", "lbrace": r"\{",
    "rbrace": r"\}", "colon": ":", "dots": r"\ldots", "cdots": r"\ldots", "dotsc": r"\ldots", "infin": r"\infty",
    "lvert": "|", "rvert": "|", "vert": "|", "mid": "|", "degree": "°", "degrees": "°", "textdegree": "°",
    "pound": "£", "pounds": "£", "euro": "€", "tbinom": r"\binom", "dbinom": r"\binom", "ast": "*", "to": r"\to",
    "lparen": "(", "rparen": ")", "lbrack": "[", "rbrack": "]", "R": r"\reals", "Reals": r"\reals", "bigcup": r"\cup",

    "langle": "(", "rangle": ")", "backslash": r"\setminus",
    "quad": " ", "qquad": " ", "space": " ", "newline": " ", "and": " and ", "percent": "%",
}  # fmt: skip
_DROPPED = frozenset(
    (
        "left", "right", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr",
        "middle", "displaystyle", "textstyle", "limits", "hfill", "!", ",", ";", ":", "thinspace",
        "enspace", "mathstrut", "strut", "bf", "rm", "it", "boldmath", "nobreak", "nonumber", "hline",
    )
)  # fmt: skip

_PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_WRAPPER = re.compile(
    r"\\(?:text|textbf|textit|textrm|textsf|texttt|textnormal|emph|mathrm|mathbf|mathit|mathsf|mathtt|mathcal|bold|mbox"
    r"|hbox|boldsymbol|bm|operatorname|boxed|fbox|underline|textup|mathop|displaylines)\*?\s*\{([^{}]*)\}"
)
_OUTER = re.compile(r"\\(?:boxed|fbox|text|textbf|mathbf|mathrm|bm|boldsymbol|underline)\s*\{")
_DOUBLED = re.compile(
    r"\\\\(?=(?:d?frac|sqrt|pi|text|boxed|infty|cup|cdot|times|le|ge|pm|theta|alpha|beta|log|circ)\b)"
)
_WORD_BOX = re.compile(r"\\mathbb\s*\{?R\}?")
_THOUSANDS = re.compile(r"(?<=[0-9])(?:,\\!|\\!|\\,|\{,\})\s*(?=[0-9]{3}(?![0-9]))")
_COMMAND = re.compile(r"\\(?:([A-Za-z]+)\*?|([!,;:> ])|\\)")
_DEGREE = re.compile(r"(?:\{\})?\^\s*(?:\{\s*(?:\\circ|°)\s*\}|\\circ(?![A-Za-z])\s*|°\s*)")
_ROW_END = re.compile(r"\\\\(?:\*|(?:\*\s*)?\[\s*-?[0-9.]+\s*(?:pt|em|ex|mm|cm|in)\s*\])")
"""The end of a matrix row with the gap before the next one, `\\\\[4pt]`."""
_UNSEEN = re.compile(r"\\[vh]?phantom\s*\{[^{}]*\}|\\(?:text)?color\s*\{[A-Za-z]+\}|\\[hv]space\*?\s*\{[^{}]*\}")
"""What takes up room or names a colour, and says nothing."""
_NULL_DELIMITER = re.compile(r"\\(?:left|right)\s*\.")
_OVER = re.compile(r"\{([^{}]*)\\(over|choose)(?![A-Za-z])([^{}]*)\}")
_STACKED = {"over": r"\frac", "choose": r"\binom"}
_SUPERSCRIPTS = re.compile("[⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹ⁿ]+")
_SUBSCRIPTS = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_SMALL = str.maketrans("⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹ⁿ₀₁₂₃₄₅₆₇₈₉", "-+0123456789n0123456789")
_RELATIONS = ((re.compile(r"<=|=<"), r"\\le "), (re.compile(r">=|=>"), r"\\ge "), (re.compile(r"!=|<>"), r"\\ne "))
_TIMES_TEN = re.compile(r"(?<=[0-9]) ?[xX] ?(?=10\^)")
_TIGHT = re.compile(r"(?<=[^A-Za-z0-9,]) +|(?<!,) +(?=[^A-Za-z0-9])")
_INFINITY = re.compile(r"(?<![A-Za-z\\])(?:infinity|inf|oo)(?![A-Za-z])", re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_ROOT_SIGN = re.compile(r"([√∛∜])\s*([0-9]+(?:\.[0-9]+)?|[A-Za-z])")
_ROOTS = {"√": r"\sqrt", "∛": r"\sqrt[3]", "∜": r"\sqrt[4]"}
_CURRENCY = "\x01"
_MONEY = re.compile(r"(?<![A-Za-z\\])(?:(US ?\$|USD)|(EUR)|(GBP)|INR|Rs\.?|rs\.) ?(?=-?[0-9])")
_MONEY_SIGNS = {1: "$", 2: "€", 3: "£", None: "₹"}
_RUPEES_AFTER = re.compile(r"(?<=[0-9]) Rs\.?(?![A-Za-z0-9_^(])")
_RUPEES_EVEN = re.compile(r"(?<=₹)([0-9][0-9,.]*)/-")


def normalise(answer: str) -> str:
    r"""The answer in one spelling.

    Args:
        answer: a bare answer of any length; callers refuse those over `MAX_ANSWER` (see `is_readable`).

    Returns:
        The answer without mathematics delimiters, spacing, sizing and text commands; a currency sign stays `$`, a
        degree is `°`, thousands separators that can be nothing else (`{,}`, `,\!`) are gone.
    """
    if _PLAIN.fullmatch(answer):
        return answer
    text = answer.strip()
    if not text.isascii():
        text = _SUPERSCRIPTS.sub(lambda m: f"^{{{m.group().translate(_SMALL)}}}", text)
        text = _SUBSCRIPTS.sub(lambda m: f"_{{{m.group().translate(_SMALL)}}}", text)
        text = _ROOT_SIGN.sub(lambda m: f"{_ROOTS[m[1]]}{{{m[2]}}}", text).translate(_TRANSLATION)
    text = _dollars(_strip_markup(text.removesuffix(".") if text.endswith("$.") else text)).strip()
    if "\\" in text or "{" in text:
        text = _latex(text)
    text = text.replace("+/-", r"\pm ")
    if "10^" in text:
        text = _TIMES_TEN.sub(r"\\times ", text)
    if text[:1] + text[-1:] == "<>" and "," in text:
        text = f"({text[1:-1]})"  # a vector in plain text
    for pattern, replacement in _RELATIONS:
        text = pattern.sub(replacement, text)
    if "n" in text or "o" in text or "N" in text:
        text = _INFINITY.sub(r"\\infty", text)
    text = _SPACES.sub(" ", text.replace(_CURRENCY, "$")).strip()
    return _strip_end(_TIGHT.sub("", _money(text)))


def is_readable(answer: str) -> bool:
    """Whether the answer is short and shallow enough to be read (tier 0 of the checker)."""
    return len(answer) <= MAX_ANSWER and nesting(answer) <= MAX_NESTING


def nesting(text: str) -> int:
    """Deepest nesting of (), [] and {} in the text, counted without matching their kinds."""
    depth = deepest = 0
    for char in text:
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}" and depth:
            depth -= 1
    return deepest


def has_balanced_braces(text: str) -> bool:
    r"""Whether every unescaped `{` is closed; `\{` and `\}` count as a pair of their own."""
    depth, position = 0, 0
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 2
            continue
        depth += (char == "{") - (char == "}")
        if depth < 0:
            return False
        position += 1
    return depth == 0


def _strip_markup(text: str) -> str:
    """Markdown emphasis, quotes and code ticks around the whole answer."""
    if text[:1] in ("*", "_", "`") and text.endswith("."):
        text = text[:-1].rstrip()
    for _ in range(4):
        if len(text) >= 2 and text[0] == text[-1] and text[0] in "*_`\"'":
            text = text[1:-1].strip()
        else:
            break
    if text.startswith("**") or text.endswith("**"):
        text = text.removeprefix("**").removesuffix("**").strip()
    return text.replace("**", "^")  # a power in programming notation


def _dollars(text: str) -> str:
    r"""Dollar signs: an even number are mathematics delimiters, an odd number money; `\$` is always money."""
    if "$" not in text:
        return text
    text = text.replace(r"\$", _CURRENCY)
    if text.count("$") % 2:
        return text.replace("$", _CURRENCY)
    return text.replace("$", " ")


def _money(text: str) -> str:
    """Currencies written as letters, by their signs: `Rs. 1,500/-` is `₹1,500`, `USD 20` is `$20`."""
    if not ("R" in text or "S" in text or "GBP" in text or "rs." in text or "/-" in text):
        return text
    text = _MONEY.sub(lambda match: _MONEY_SIGNS[match.lastindex], text)
    text = _RUPEES_AFTER.sub("₹", text)
    return _RUPEES_EVEN.sub(r"\1", text) if "₹" in text else text


def _latex(text: str) -> str:
    if r"\\" in text:
        text = _ROW_END.sub(r"\\\\", text)
    for delimiter in (r"\(", r"\)", r"\[", r"\]"):
        text = text.replace(delimiter, " ")
    text = _unwrap(_UNSEEN.sub(" ", text))
    if r"\over" in text or r"\choose" in text:
        text = _OVER.sub(lambda match: f"{_STACKED[match[2]]}{{{match[1]}}}{{{match[3]}}}", text)
    if r"\begin" not in text:
        text = _DOUBLED.sub(r"\\", text)
    text = _NULL_DELIMITER.sub("", text)
    text = _THOUSANDS.sub("", text)
    text = _WORD_BOX.sub(r"\\reals ", text)
    for _ in range(4):
        text, count = _WRAPPER.subn(r" \1 ", text)
        if not count:
            break
    text = _DEGREE.sub("°", text)
    text = text.replace(r"\%", "%").replace(r"\&", "&").replace(r"\_", "_").replace(r"\#", "#").replace("~", " ")
    text = _COMMAND.sub(_command, text)
    return _ungroup(text)


def _unwrap(text: str) -> str:
    r"""A text command or box around the whole answer, braces inside it included."""
    for _ in range(4):
        text = text.strip()
        match = _OUTER.match(text)
        if match is None or not text.endswith("}") or not has_balanced_braces(text[match.end() : -1]):
            break
        text = text[match.end() : -1]
    return text


def _command(match: re.Match[str]) -> str:
    name = match.group(1) or match.group(2)
    if name is None:  # a row separator of a matrix
        return match.group()
    if name in _DROPPED or not name.strip() or name == ">":
        return " "
    new = _COMMANDS.get(name, "\\" + name)
    # The space keeps `\pi r` apart from `\pir`; `_TIGHT` removes it where it is not needed.
    return new + " " if new.startswith("\\") and len(new) > 2 else new


def _ungroup(text: str) -> str:
    """Braces around the whole answer are TeX grouping, not a set."""
    for _ in range(4):
        text = text.strip()
        if len(text) >= 2 and text[0] == "{" and text[-1] == "}" and has_balanced_braces(text[1:-1]):
            text = text[1:-1]
        else:
            break
    return text


def _strip_end(text: str) -> str:
    while text and text[-1] in ".,;" and not text.endswith(("..", "\\,", "\\;")):
        text = text[:-1].rstrip()
    return text
