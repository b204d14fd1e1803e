"""How one value of a report is written on its page: numbers, shares in percent, intervals, short lists; always escaped.

Nothing here raises on a report's values, whatever they are: numbers of any size, NaN, text that means harm.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

MAX_TEXT, MAX_INLINE = 400, 20
"""Letters of a text, and entries of a list, that a cell shows."""
SHARES = frozenset((
    "accuracy", "share", "shares", "rate", "rates", "precision", "recall", "specificity", "f1", "difference", "gain",
    "overlap", "agreement", "maj", "pass",
))  # fmt: skip
"""Words of a name that say that its numbers are shares of 1."""
FLOAT_SHARES = frozenset(("right", "wrong", "helped", "unreadable", "unread"))
"""Names that are shares where their numbers are no whole ones, and else counts."""
NO_SHARES = frozenset(("learning_rate", "p_value", "std"))
MAIN = ("difference", "gain", "f1", "accuracy", "share", "value", "mean", "median")
"""What `low` and `high` beside it are the interval of: the first of these that is there."""


def number(value: Any) -> float | None:
    """A finite number; None for anything else, also for one that no float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def is_scalar(value: Any) -> bool:
    """Whether a value is one figure or text."""
    return not isinstance(value, Mapping | list | tuple)


def mapping(value: Any) -> Mapping[str, Any]:
    """A mapping as it is; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def plain(value: Any, write: Callable[[Any], str] = str, *, most: int = MAX_TEXT) -> str:
    """Any value as text of at most so many letters, not escaped."""
    try:
        text = write(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; nesting without end
        return "(too large to show)"
    return text if len(text) <= most else text[:most] + "…"


def shown(value: Any) -> str:
    """A figure or text as markup."""
    found = number(value)
    if found is None:
        return "" if value is None else escape(plain(value))
    if isinstance(value, int) and abs(value) < 10**15:
        return f"{value:,}"
    if abs(found) >= 1e7:
        return f"{found:.4g}"
    return f"{found:,.1f}" if abs(found) >= 100 else f"{found:.4g}"


def percent(value: Any) -> str:
    """A share of 1 in percent; "" where it is no number."""
    found = number(value)
    return "" if found is None else f"{100 * found:.1f} %" if abs(found) < 1e6 else f"{100 * found:.4g} %"


def is_share(key: str) -> bool:
    """Whether a name says that its numbers are shares of 1, e.g. `kept_share`, `accuracy_by_threshold`."""
    return key not in NO_SHARES and not SHARES.isdisjoint(re.split(r"[^a-z0-9]+", str(key).lower()))


def figure(value: Any, key: str = "", *, share: bool = False) -> str:
    """A figure or text as markup, in percent where its name, or the part that it is in, says that it is a share.

    Args:
        value: no mapping or list.
        key: its name.
        share: whether the part that it is in holds shares; whole numbers in it are counts all the same.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    found = number(value)
    is_float = isinstance(value, float) and key not in NO_SHARES
    says_so = (is_float and (share or key in FLOAT_SHARES or is_share(key))) or key in ("accuracy", "share")
    return percent(value) if says_so and found is not None and -1 <= found <= 1 else shown(value)


def main_key(row: Mapping[str, Any]) -> str | None:
    """The name of the figure whose 95 % interval is `low` to `high` of the same row; None where there is none."""
    if number(row.get("low")) is None or number(row.get("high")) is None:
        return None
    return next((key for key in MAIN if number(row.get(key)) is not None), None)


def is_interval(value: Any) -> bool:
    """Whether a mapping is nothing but a figure with its interval and the number of cases."""
    if not isinstance(value, Mapping):
        return False
    return main_key(value) is not None and len(value) <= 5 and all(is_scalar(v) for v in value.values())


def with_range(row: Mapping[str, Any], key: str, *, share: bool = False) -> str:
    """A figure of a row with the interval that stands beside it."""
    ends = [figure(row[end], key, share=share) for end in ("low", "high")]
    return f'{figure(row[key], key, share=share)} <span class="range">[{ends[0]}, {ends[1]}]</span>'


def cell(value: Any, key: str = "", *, share: bool = False) -> str:
    """A value as the markup of a table's cell: nested ones on one line, as far as they are short."""
    share = share or is_share(key)
    if isinstance(value, Mapping):
        if is_interval(value) and (main := main_key(value)) is not None:
            count = number(value.get("n"))
            of = "" if count is None else f' <span class="range">of {shown(value["n"])}</span>'
            return with_range(value, main, share=share) + of
        parts = [f"{words(k)}: {_inner(v, plain(k), share)}" for k, v in list(value.items())[:MAX_INLINE]]
        return " · ".join(parts) + _more(len(value))
    if isinstance(value, list | tuple):
        return ", ".join(_inner(v, key, share) for v in value[:MAX_INLINE]) + _more(len(value))
    return figure(value, key, share=share)


def _inner(value: Any, key: str, share: bool) -> str:
    """What stands inside a cell's line: deeper parts are only counted."""
    if is_scalar(value):
        return figure(value, key, share=share) or "–"
    return f"({len(value)})"


def _more(count: int) -> str:
    return f" … and {count - MAX_INLINE:,} more" if count > MAX_INLINE else ""


def words(key: Any) -> str:
    """A name in plain words, as markup."""
    return escape(plain(key).replace("_", " "))


def is_text(value: Any) -> bool:
    """Whether a column with such a value reads from the left."""
    return isinstance(value, str) or (isinstance(value, Mapping) and not is_interval(value))
