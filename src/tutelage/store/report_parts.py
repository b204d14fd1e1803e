"""Any part of a report as readable tables, so that what a recipe reports is on its page without code of its own.

Mappings become rows, lists of mappings one table, figures stand beside their intervals, shares are in percent; parts
that were measured several times (before and after, by iteration, by judge) are held against each other, figure by
figure. Every shape gives something, none an error; what is too long is cut, and said to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from tutelage.store.report_parts_cells import (
    cell,
    is_interval,
    is_scalar,
    is_share,
    is_text,
    main_key,
    mapping,
    number,
    plain,
    with_range,
    words,
)

MAX_ROWS, LAST_ROWS, MAX_COLUMNS, MAX_SECTIONS, MAX_DEPTH = 200, 50, 24, 60, 8
MANY_COLUMNS = 9
"""A table of more columns than this, and of fewer rows, is turned."""
NAMES = ("iteration", "round", "name", "student", "sampler", "strategy", "arm", "label", "style", "source")
"""What an entry of a list is called by, where it has one of these."""


def section(title: str, body: str, level: int = 2) -> str:
    """A part with its heading; nothing without a body."""
    level = min(level, 6)
    return f"<h{level}>{escape(title)}</h{level}>\n{body}" if body else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], texts: Iterable[int] = ()) -> str:
    """A table; `head` is escaped here, the cells of `rows` are markup already.

    Args:
        head: names of the columns; without any there is no line of them.
        rows: at most `MAX_ROWS` are shown, the first and the last ones, and how many are left out.
        texts: columns that read from the left, as the first always does.
    """
    left = {0, *texts}

    def line(tag: str, cells: Iterable[str]) -> str:
        parts = (f'<{tag} class="t">{c}</{tag}>' if i in left else f"<{tag}>{c}</{tag}>" for i, c in enumerate(cells))
        return f"<tr>{''.join(parts)}</tr>"

    top = f"<thead>{line('th', map(escape, head))}</thead>" if any(head) else ""
    hidden = len(rows) - MAX_ROWS
    shown = rows if hidden <= 0 else [*rows[: MAX_ROWS - LAST_ROWS], ["…"], *rows[-LAST_ROWS:]]
    body = "\n".join(line("td", row) for row in shown)
    left_out = f"<p>{hidden:,} more rows are left out here.</p>" if hidden > 0 else ""
    return f"<table>{top}<tbody>\n{body}\n</tbody></table>{left_out}"


def general(value: Any, key: str = "", *, share: bool = False, level: int = 3, depth: int = 0) -> str:
    """Any part as markup; "" where it is empty.

    Args:
        value: the part.
        key: its name, which may say that its numbers are shares.
        share: whether the part that it is in said so.
        level: of the headings inside it.
        depth: how deep it lies; the deepest are only counted.
    """
    share = share or is_share(key)
    if is_scalar(value) or is_interval(value) or depth > MAX_DEPTH or _is_list_of_scalars(value):
        text = cell(value, key, share=share)
        return f"<p>{text}</p>" if text else ""
    if isinstance(value, Mapping):
        return _mapping(_by_text(value), share, level, depth)
    if all(map(_is_row, value)):
        return records([_by_text(item) for item in value], share=share)
    return _mapping(named(value, key), share, level, depth)


def named(items: Sequence[Any], key: str = "") -> dict[str, Any]:
    """The entries of a list by name: what they call themselves, which is then left out of them, else their number."""
    own = [_own_name(item) for item in items]
    names = [name for name, _ in own]
    if None in names or len(set(names)) < len(names):
        first = 0 if key in ("iterations", "rounds") else 1
        single = {"iterations": "iteration ", "rounds": "round "}.get(key, "")
        return {f"{single}{index}": item for index, item in enumerate(items, first)}
    return {
        str(name): {k: v for k, v in item.items() if k != called}
        for (name, called), item in zip(own, items, strict=True)
    }  # fmt: skip


def _own_name(item: Any) -> tuple[str | None, str]:
    """What an entry calls itself, and under which key."""
    found = mapping(item)
    key = next((key for key in NAMES if found.get(key) is not None and is_scalar(found[key])), "")
    if not key:
        return None, ""
    return (f"{key} {plain(found[key])}" if number(found[key]) is not None else plain(found[key])), key


def _by_text(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {plain(key): part for key, part in value.items()}


def _mapping(value: Mapping[str, Any], share: bool, level: int, depth: int) -> str:
    """A mapping: a table where its parts are alike, else its figures as rows and each deeper part by itself."""
    value = {name: part for name, part in value.items() if not _is_empty(part)}
    parts = list(value.values())
    if parts and all(map(_is_list_of_rows, parts)):
        return records([{"": name, **_by_text(row)} for name, rows in value.items() for row in rows], share=share)
    if _are_alike(parts):
        return _side_by_side({name: _by_text(part) for name, part in value.items()}, share, level, depth)
    flat = {name: part for name, part in value.items() if _is_flat(part) or _is_short(part, most=3)}
    deep = {name: part for name, part in value.items() if name not in flat}
    return _joined(figures(flat, share=share), sections(deep, share, level, depth))


def sections(parts: Mapping[str, Any], share: bool = False, level: int = 3, depth: int = 0) -> str:
    """Each part under a heading of its own."""
    done = [
        section(title_of(name), general(part, name, share=share, level=level + 1, depth=depth + 1), level)
        for name, part in list(parts.items())[:MAX_SECTIONS]
    ]
    hidden = len(parts) - MAX_SECTIONS
    return _joined(*done, f"<p>{hidden:,} more parts are left out here.</p>" if hidden > 0 else "")


def _side_by_side(value: Mapping[str, Mapping[str, Any]], share: bool, level: int, depth: int) -> str:
    """Parts with the same figures, held against each other: first the figures, then each deeper part of all of them."""
    if all(map(_is_row, value.values())):
        return rows_by_name(value, share=share)
    found = {
        name: {who: part[name] for who, part in value.items() if not _is_empty(part.get(name))}
        for name in _columns(value.values())
    }
    if all(_is_row(row) for parts in found.values() for row in parts.values()):
        return records([{"": name, " ": who, **row} for name, rows in found.items() for who, row in rows.items()],
                       share=share)  # fmt: skip
    deep = {name: parts for name, parts in found.items() if not all(map(_is_flat, parts.values()))}
    rows = {who: {name: v for name, v in part.items() if name not in deep} for who, part in value.items()}
    return _joined(rows_by_name(rows, share=share), sections(deep, share, level, depth))


def figures(flat: Mapping[str, Any], *, share: bool = False) -> str:
    """Names and figures, one a row; "" where none has a value. An interval's ends stand beside its figure."""
    has_range = main_key(flat) is not None
    shown = {n: v for n, v in flat.items() if not _is_empty(v) and not (has_range and n in ("low", "high"))}
    rows = [[words(name), _of_row(flat, name, share)] for name in shown]
    return table(["", ""], rows, [1] if any(map(is_text, shown.values())) else []) if rows else ""


def rows_by_name(value: Mapping[str, Mapping[str, Any]], *, share: bool = False) -> str:
    """Mappings as rows, each under its name; turned where that is narrower."""
    return records([{"": name, **row} for name, row in value.items()], share=share, may_turn=True)


def records(rows: Sequence[Mapping[str, Any]], *, share: bool = False, may_turn: bool = False) -> str:
    """A list of mappings as one table; columns without a value are left out, a few figures inside one get columns.

    Args:
        rows: mappings; the name "" is that of the row.
        share: whether the part that they are in holds shares.
        may_turn: whether rows may become columns; they need names.
    """
    spread = _to_spread(rows)
    flat = [_spread(row, spread) for row in rows]
    has_range = any(main_key(row) for row in flat)
    columns = [
        name for name in _columns(flat)
        if any(not _is_empty(row.get(name)) for row in flat) and not (has_range and name in ("low", "high"))
    ]  # fmt: skip
    if not set(columns) - {""}:
        return ""
    head = [name.replace("_", " ")[:80] for name in columns]
    cells = [[_of_row(row, name, share) for name in columns] for row in flat]
    if may_turn and len(columns) > MANY_COLUMNS and len(rows) < len(columns) - 1:
        names = [plain(row.get(""))[:80] for row in rows]
        turned = [[escape(head[i]), *(row[i] for row in cells)] for i in range(1, len(columns))]
        return _narrow(["", *names], turned)
    texts = [i for i, name in enumerate(columns) if any(is_text(row.get(name)) for row in flat)]
    if columns[0] == "":
        cells = [row if i == 0 or row[0] != cells[i - 1][0] else ["", *row[1:]] for i, row in enumerate(cells)]
    return _narrow(head, cells, texts)


def _narrow(head: Sequence[str], rows: Sequence[Sequence[str]], texts: Iterable[int] = ()) -> str:
    hidden = len(head) - MAX_COLUMNS
    more = f"<p>{hidden:,} more columns are left out here.</p>" if hidden > 0 else ""
    return table(head[:MAX_COLUMNS], [row[:MAX_COLUMNS] for row in rows], texts) + more


def _of_row(row: Mapping[str, Any], name: str, share: bool) -> str:
    """A row's figure, with its interval where the row has one."""
    if name == "":
        return words(row.get(""))
    if name == main_key(row):
        return with_range(row, name, share=share)
    return cell(row.get(name), name.rpartition(": ")[2], share=share or is_share(name))


def _to_spread(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Names under which rows hold a few figures each, which get columns of their own."""
    inner: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        for key, value in row.items():
            if isinstance(value, Mapping) and not is_interval(value):
                inner.setdefault(key, []).append(_by_text(value))
    return {key for key, values in inner.items() if len(_columns(values)) <= 4}


def _spread(row: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in row.items():
        if key in names and isinstance(value, Mapping) and not is_interval(value):
            out |= {f"{key}: {plain(inner)}": part for inner, part in value.items()}
        else:
            out[key] = value
    return out


def _columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names in rows, in order of appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))


def _is_empty(value: Any) -> bool:
    return value is None or (not is_scalar(value) and len(value) == 0) or (isinstance(value, str) and not value)


def _is_list_of_scalars(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(is_scalar, value))


def _is_flat(value: Any) -> bool:
    """Whether a value fits a cell by itself."""
    return is_scalar(value) or is_interval(value) or (_is_list_of_scalars(value) and len(value) <= 12)


def _is_short(value: Any, most: int = 8) -> bool:
    """Whether a value is a mapping of a few figures."""
    return isinstance(value, Mapping) and len(value) <= most and all(map(is_scalar, value.values()))


def _is_row(value: Any) -> bool:
    """Whether a value is one row of a table: a mapping of figures, or of mappings of a few figures."""
    if not isinstance(value, Mapping) or is_interval(value):
        return False
    return all(_is_flat(part) or _is_short(part) for part in value.values())


def _is_list_of_rows(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(map(_is_row, value))


def _are_alike(parts: Sequence[Any]) -> bool:
    """Whether parts are two or more mappings that share at least half of their names."""
    if len(parts) < 2 or not all(isinstance(part, Mapping) and not is_interval(part) for part in parts):
        return False
    keys = [set(map(plain, part)) for part in parts]
    return 2 * len(set.intersection(*keys)) >= len(set.union(*keys)) > 0


def title_of(name: str) -> str:
    """A name as a heading in plain words."""
    text = name.replace("_", " ")[:120]
    return text[:1].upper() + text[1:]


def _joined(*parts: str) -> str:
    return "\n".join(part for part in parts if part)
