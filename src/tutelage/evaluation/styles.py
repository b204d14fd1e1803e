"""Which problems are solved in which style: "prose wrong, program right" and its like, whole and by kind of problem."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from tutelage.text.programs import STYLES, Asked, read_solution, statuses

Values = Mapping[str, float]
"""Value by problem id, in [0, 1]."""


def style_statistics(by_style: Mapping[Asked, Values], kinds: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Accuracy by style, and for every two styles on how many problems which of them is right.

    Only problems that all styles have count, so that styles are compared on the same.

    Args:
        by_style: results of one model, or of one model a style.
        kinds: the kind of each problem; then the same for each kind.

    Returns:
        `{n, accuracy: {style: share}, pairs: {"cot wrong, pot right": count, ...}}`, and `by_kind` where kinds are
        given. A value above 0.5 is right.
    """
    names = [style for style in get_args(Asked) if style in by_style]
    shared = set.intersection(*(set(by_style[style]) for style in names)) if names else set()
    order = [name for name in by_style[names[0]] if name in shared] if names else []
    ordered = {style: by_style[style] for style in names}
    whole = _table(ordered, order)
    if kinds is not None:
        groups: dict[str, list[str]] = {}
        for name in order:
            groups.setdefault(kinds.get(name, ""), []).append(name)
        whole["by_kind"] = {kind: _table(ordered, groups[kind]) for kind in sorted(groups)}
    return whole


def _table(by_style: Mapping[Asked, Values], problems: list[str]) -> dict[str, Any]:
    right = {style: [by_style[style][name] > 0.5 for name in problems] for style in by_style}
    pairs: dict[str, int] = {}
    for first, second in itertools.combinations(right, 2):
        seen = Counter(zip(right[first], right[second], strict=True))
        for a, b in itertools.product((True, False), repeat=2):
            pairs[f"{first} {_word(a)}, {second} {_word(b)}"] = seen[(a, b)]
    count = len(problems)
    accuracy = {style: sum(found) / count if count else 0.0 for style, found in right.items()}
    return {"n": count, "accuracy": accuracy, "pairs": pairs}


def _word(is_right: bool) -> str:
    return "right" if is_right else "wrong"


def written_styles(texts: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """What a model wrote: solutions by the style that was read from them, and how their programs ended.

    Args:
        texts: text and note of each solution.

    Returns:
        `{cot, pot, mixed, programs: {status: count}}`; programs that were not run are not counted.
    """
    found: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for text, note in texts:
        found[read_solution(text).style] += 1
        ended.update(statuses(note))
    return {**{style: found[style] for style in STYLES}, "programs": dict(sorted(ended.items()))}
