"""Units and currencies at the end (or the head) of an answer, split off and brought to one name.

Rules (rule 3 of `tutelage.grading`): a unit missing on one side is fine, two different units are not equal, and
nothing is ever
converted: 60 minutes is not 1 hour. A percent sign is no unit; it is handled where values are compared.
"""

from __future__ import annotations

import itertools
import re

_ALIASES = {
    "meter": "m", "metre": "m", "kilometer": "km", "kilometre": "km", "centimeter": "cm", "centimetre": "cm",
    "millimeter": "mm", "millimetre": "mm", "kilogram": "kg", "kilo": "kg", "gram": "g", "gm": "g", "gramme": "g",
    "milligram": "mg", "liter": "l", "litre": "l", "milliliter": "ml", "millilitre": "ml", "inch": "in", "inche": "in",
    "foot": "ft", "feet": "ft", "yard": "yd", "mile": "mi", "lb": "lb", "ounce": "oz", "gallon": "gal",
    "second": "s", "sec": "s", "minute": "min", "hour": "h", "hr": "h", "dollar": "$", "usd": "$", "buck": "$",
    "euro": "€", "eur": "€", "cent": "¢", "yen": "¥", "rupee": "₹", "inr": "₹", "gbp": "£", "jpy": "¥", "cny": "yuan",
    "degree": "deg", "unit": "unit",
    "cc": "cm^3", "people": "person", "persons": "person", "children": "child", "men": "man", "women": "woman",
    "newton": "n", "joule": "j", "watt": "w", "volt": "v", "hertz": "hz", "pascal": "pa", "yuan": "yuan", "rmb": "yuan",
    "celsius": "c", "fahrenheit": "f", "centigrade": "c", "squares": "square",
    "mph": "mi/h", "kph": "km/h", "kmh": "km/h", "radian": "rad", "sq": "square", "cu": "cubic", "dollars": "$",
}  # fmt: skip
KNOWN = (frozenset(_ALIASES.values()) - {"unit", "person", "child", "man", "woman", "n", "j", "w", "v"}) | frozenset(
    (
        "m", "km", "cm", "mm", "kg", "g", "mg", "l", "ml", "in", "ft", "yd", "mi", "lb", "oz", "gal", "s",
        "min", "h", "day", "week", "month", "year", "$", "€", "¢", "£", "¥", "₹", "°", "deg", "rad", "c", "f",
    )
)  # fmt: skip
"""Names that mean one thing; two different ones are provably different."""

_NAMES = KNOWN | frozenset(_ALIASES.values())
"""Names that a number needs no space before."""
_CAPITALS = frozenset("LNJWVFC")
"""Units of one capital letter, which a number needs a space before."""
_LETTERS = {"m": "m", "g": "g", "s": "s", "h": "h", "l": "lL", "n": "N", "j": "J", "w": "W", "v": "V"}
"""Units of one letter, and the symbols that they are read as without that space."""
_AMBIGUOUS = {"pound": ("lb", "£"), "deg": ("°", "°c", "°f", "c", "f"), "¥": ("yuan", "yen")}
"""Names that may mean any of several."""
_SCALES_OF_HEAT = frozenset(("c", "f", "celsius", "fahrenheit"))
_FOREIGN = {
    "元": "yuan", "块": "yuan", "美元": "$", "米": "m", "厘米": "cm", "毫米": "mm", "千米": "km", "公里": "km",
    "千克": "kg",
    "公斤": "kg", "克": "g", "吨": "t", "升": "l", "毫升": "ml", "小时": "h", "分钟": "min", "分": "min", "秒": "s",
    "天": "day", "周": "week", "月": "month", "个月": "month", "年": "year", "度": "deg", "平方米": "m^2",
    "平方厘米": "cm^2",
    "平方千米": "km^2", "立方米": "m^3", "立方厘米": "cm^3", "岁": "year",
}  # fmt: skip
_FOREIGN_TAIL = re.compile(r"(?P<value>.*[0-9}) ]) ?(?P<unit>[\u4e00-\u9fff]{1,5}(?:[/每][\u4e00-\u9fff]{1,3})?)")
_PER = re.compile("[/每]")
_FOREIGN_HEDGE = re.compile("[约或不非左右上下多少和与及至到]")

_SCALES = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12,
           "lakh": 10**5, "lakhs": 10**5, "crore": 10**7, "crores": 10**7}  # fmt: skip
# A phrase with one of these is a sentence or a hedge, not a unit.
_NOT_UNITS = frozenset(
    (
        "not", "no", "or", "and", "but", "either", "neither", "nor", "maybe", "perhaps", "minus", "plus",
        "less", "than", "over", "under", "about", "approximately", "if", "then", "is", "are", "was",
        "were", "equals", "equal", "x", "half", "quarter", "third", "because", "since", "so",
        "instead", "whereas", "wrong", "incorrect", "true", "false", "except", "almost", "nearly", "to",
        "from", "base", "mod", "modulo", "remainder", "hence", "thus", "therefore", "which", "that", "sin",
        "cos", "tan", "sec", "csc", "cot", "log", "ln", "sqrt", "pi", "exp", "frac", "infinity", "infty",
        "inf", "ish", "something", "up", "down",
    )
)  # fmt: skip
_TIMES = ("year", "month", "week", "day", "h", "min", "s")
_FAMILIES = (
    _TIMES, ("mi", "yd", "ft", "in"), ("km", "m", "cm", "mm"), ("lb", "oz"), ("kg", "g", "mg"), ("l", "ml"), ("$", "¢"),
)  # fmt: skip
"""Units that one quantity is told in, from the largest down."""
_CLOCK_UNITS = frozenset(("h", "s"))
_BESIDE_THEM = {"m": "min", "d": "day"}
"""What letters mean in a time: `2h30m`, `5m30s`, `1d 6h`."""
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]{1,11}\.?|[\u4e00-\u9fff]{1,2})")
_COMPOUND = re.compile(rf"{_PART.pattern}(?: ?{_PART.pattern})+")
_UNSPECIFIED = re.compile(r"unit(?:\^[0-9])?")
_FILLERS = frozenset(("the", "a", "an", "left", "total", "altogether", "remaining", "each", "overall", "more", "extra"))
_FRACTIONS = frozenset(("halve", "third", "quarter", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"))
_TAIL = re.compile(
    r"(?P<value>.*?(?:[0-9})!](?P<space>[ -]?)|[a-z](?P<gap> )))"
    r"(?P<unit>[A-Za-z°€£¥₹¢$/][A-Za-z.°/^{}$ ']*(?:\^\{?[23]\}?)?)"
)
_INVERSE = re.compile(
    r"(?<=[ 0-9])(?P<top>[A-Za-z]{1,3})(?: ?\\cdot ?| )(?P<bottom>[A-Za-z]{1,3})\^\{?-(?P<power>[1-3])\}?\Z"
)
_MONEY = re.compile(r"(?P<sign>-?)\s*(?P<money>[$€£¥₹])\s*(?P<rest>[-0-9.\\].*)")
_WORD = re.compile(r"[A-Za-z]+|[°€£¥₹¢$/]|\^\{?[23]\}?")
_DIGIT_OR_COMMAND = re.compile(r"[0-9\\]")


def split_unit(text: str) -> tuple[str, str, int] | None:
    r"""Split a normalised answer to (the text without its unit, the unit's canonical name, scale).

    Args:
        text: a normalised answer such as `36in^2`, `$7.25`, `2.4 million dollars`, `120°`.

    Returns:
        None where there is no unit or what follows the number is no unit. The scale is 1, or that of a trailing
        `thousand`, `million` and so on.
    """
    money = ""
    if match := _MONEY.fullmatch(text):
        money = match["money"]
        text = match["sign"] + match["rest"]
    if not text.isascii() and (foreign := _FOREIGN_TAIL.fullmatch(text)) and not money:
        unit_text = foreign["unit"]
        scale = 10**4 if unit_text[0] == "万" else 1
        unit_text = unit_text[1:] if scale > 1 else unit_text
        if _FOREIGN_HEDGE.search(unit_text):
            return None
        parts = _PER.split(unit_text)
        return foreign["value"].rstrip(), "/".join(_FOREIGN.get(part, part) for part in parts), scale
    match = _TAIL.fullmatch(_INVERSE.sub(_as_quotient, text) if "^{-" in text or "^-" in text else text)
    if match is None or not _DIGIT_OR_COMMAND.search(match["value"]) or not _looks_like_unit(match):
        return (text, money, 1) if money else None
    unit = canonical_unit(match["unit"])
    if unit is None:
        return None
    name, scale = unit
    if money and name.startswith("/"):
        name = money + name
    if money and name not in ("", money) and not name.startswith(money + "/"):
        return None
    return match["value"].rstrip(" -"), name or money, scale


def split_compound(text: str) -> tuple[list[str], str] | None:
    """The parts of one quantity in several units, the largest first (`5 ft 3 in`, `2h30m`, `2小时30分钟`), else None.

    The parts have their units' canonical names; the second member is "", as `split_list` has it where no word joins
    the parts.
    """
    if not text[:1].isdigit() or not _COMPOUND.fullmatch(text):
        return None
    numbers, units = zip(*_PART.findall(text), strict=True)
    names = [_FOREIGN.get(unit) or _singular(unit.lower().strip(".")) for unit in units]
    if _CLOCK_UNITS.intersection(names):
        names = [_BESIDE_THEM.get(name, name) for name in names]
    for family in _FAMILIES:
        places = [family.index(name) for name in names if name in family]
        if len(places) == len(names) and all(a < b for a, b in itertools.pairwise(places)):
            return [f"{number} {name}" for number, name in zip(numbers, names, strict=True)], ""
    return None


def _as_quotient(match: re.Match[str]) -> str:
    """`m s^{-1}` as `m/s`, where both are units."""
    if _ALIASES.get(match["top"], match["top"]) not in KNOWN or match["bottom"] not in KNOWN:
        return match.group()
    return f"{match['top']}/{match['bottom']}" + ("" if match["power"] == "1" else f"^{match['power']}")


def _looks_like_unit(match: re.Match[str]) -> bool:
    """Whether the letters are a unit rather than variables: `3 m` is 3 metres, `3m` and `3y` are products."""
    words = [word for word in _WORD.findall(match["unit"]) if word.isalpha()]
    is_apart = bool(match["space"] or match["gap"])
    if not words or match["unit"].startswith("°"):
        return match["unit"][0] in "°€£¥₹¢$" and [word.lower() for word in words] in (
            [],
            ["c"],
            ["f"],
            ["celsius"],
            ["fahrenheit"],
        )
    if len(words) == 1 and len(words[0]) <= 2:
        name = words[0] if len(words[0]) == 1 else words[0].lower()
        return (name in KNOWN or name in _CAPITALS or name == "cc") and (is_apart or len(name) == 2)
    if not is_apart and match["value"][-1:].isdigit() and words[0] == match["unit"][: len(words[0])]:
        return _singular(words[0].lower()) in _NAMES  # `14ish` is no quantity
    return all(len(word) > 1 or word in KNOWN or word == "a" for word in words)


def canonical_unit(phrase: str) -> tuple[str, int] | None:
    """(canonical name, scale) of a unit phrase such as `sq. in` or `million dollars`; None where it is none."""
    phrase = phrase.replace("left over", "left")
    words = [word.lower() for word in _WORD.findall(phrase.replace(".", " ") if " per " not in phrase else phrase)]
    if not words or len(words) > 8:
        return None
    scale = 1
    if words[0] in _SCALES:
        scale = _SCALES[words.pop(0)]
    if words and words[0] == "of":
        words.pop(0)
    if any(word in _NOT_UNITS or word.rstrip("s") in _FRACTIONS or word in _SCALES or len(word) > 15 for word in words):
        return None
    words = [word for word in words if word not in _FILLERS]
    return _join([_singular(word) for word in words]), scale


def units_match(first: str, second: str) -> bool | None:
    """Whether two canonical units are the same; None where that cannot be told.

    A missing unit matches every unit. Two different names are different, unless they share a word and one of them is
    no known unit (`red apple` against `apple`).
    """
    first, second = (_UNSPECIFIED.sub("", unit) for unit in (first, second))
    if not first or not second or first == second:
        return True
    if any(a.startswith("/") and b.endswith(a) for a, b in ((first, second), (second, first))):
        return True  # `per hour` leaves out of what
    if first in _AMBIGUOUS.get(second, ()) or second in _AMBIGUOUS.get(first, ()):
        return True
    if first in KNOWN and second in KNOWN:
        return False
    ours, theirs = set(first.split()), set(second.split())
    return None if ours & theirs else False


def letters_of_unit(name: str) -> str:
    """The symbols that a unit of one letter is read as where no space is before it (`5m`); "" for other units."""
    return _LETTERS.get(name, "")


def _singular(word: str) -> str:
    if word in _ALIASES:
        return _ALIASES[word]
    if len(word) > 3 and word.endswith("ies"):
        stem = word[:-3] + "y"
    elif len(word) > 4 and word.endswith(("ses", "xes", "ches", "shes")):
        stem = word[:-2]
    elif len(word) > 2 and word.endswith("s") and not word.endswith("ss"):
        stem = word[:-1]
    else:
        stem = word
    return _ALIASES.get(stem, stem)


def _join(words: list[str]) -> str:
    """`square in`, `in ^2` and `sq in` become `in^2`; `mi per h` becomes `mi/h`."""
    parts: list[str] = []
    power = ""
    for word in words:
        if word.startswith("^"):
            if parts:
                parts[-1] += "^" + word.strip("^{}")
        elif word in ("square", "squared", "cubic", "cubed"):
            power = "^2" if word.startswith("s") else "^3"
            if word.endswith("d") and parts:
                parts[-1], power = parts[-1] + power, ""
        elif word in ("per", "/"):
            parts.append("/")
        else:
            parts.append(word + power)
            power = ""
    name = " ".join(parts).replace(" / ", "/")
    name = name.replace("/ ", "/") if name.startswith("/") else name
    return "°" + name[-1] if name in ("° c", "° f", "deg c", "deg f") else name
