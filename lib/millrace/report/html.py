"""Pieces of HTML: every text that comes from a file is escaped here, and cut where it would fill a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

__all__ = [
    "Html",
    "cell",
    "count",
    "facts",
    "figure",
    "figures",
    "number",
    "paragraph",
    "section",
    "size",
    "table",
]

MOST_CHARACTERS = 300
"""Of one cell: names and values of a file may have any length."""


LONG_CHARACTERS = 18


class Html(str):
    """A piece of HTML, escaped already."""

    __slots__ = ()


def text(value: Any) -> str:
    """Escape a value, and cut it if it is very long."""
    written = str(value)
    if len(written) > MOST_CHARACTERS:
        written = written[: MOST_CHARACTERS - 1] + "…"
    return escape(written)


def cell(value: str, kind: str = "number", about: str | None = None) -> Html:
    """Return a table cell of a class, with what to say when one points at it."""
    title = f' title="{text(about)}"' if about else ""
    return Html(f'<td class="{kind}"{title}>{text(value)}</td>')


def table(
    caption: str,
    heads: Sequence[str],
    lines: Iterable[Sequence[Any]],
    *,
    marked: Sequence[bool] = (),
    kind: str = "",
) -> Html:
    """Build a table whose first column names its rows; it scrolls by itself where it is wider than the page.

    Parameters
    ----------
    caption : str
        What stands above it, and what a screen reader calls it.
    heads : sequence of str
        Names of the columns.
    lines : iterable of sequences
        Values of a row; :class:`Html` stands for a whole cell.
    marked : sequence of bool
        Rows that stand out.
    kind : str
        Class of the table.
    """
    lines = list(lines)
    numeric = [
        bool(lines) and isinstance(lines[0][index], Html) and 'class="number' in lines[0][index]
        for index in range(len(heads))
    ]
    head = "".join(
        f'<th scope="col"{" class=number" if right else ""}>{text(name)}</th>'
        for name, right in zip(heads, numeric, strict=True)
    )
    rows = []
    for place, line in enumerate(lines):
        first, *rest = line
        name = first if isinstance(first, Html) else f'<th scope="row">{text(first)}</th>'
        cells = "".join(part if isinstance(part, Html) else _prose(part) for part in rest)
        mark = ' class="marked"' if place < len(marked) and marked[place] else ""
        rows.append(f"<tr{mark}>{name}{cells}</tr>")
    return Html(
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table class="{kind}">'
        f"<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _prose(value: Any) -> str:
    """Return a cell of words, which has room where they are many."""
    long = ' class="long"' if len(str(value)) > LONG_CHARACTERS else ""
    return f"<td{long}>{text(value)}</td>"


def figure(svg: str, caption: str) -> Html:
    """Put a drawing beside what it shows."""
    return Html(f"<figure>{svg}<figcaption>{text(caption)}</figcaption></figure>")


def figures(drawings: Sequence[Html]) -> Html:
    """Put figures side by side, as many as the page is wide."""
    return Html(f'<div class="figures">{"".join(drawings)}</div>')


def paragraph(*parts: str) -> Html:
    """Return a paragraph; what is no :class:`Html` is escaped."""
    return Html(f"<p>{''.join(part if isinstance(part, Html) else escape(part) for part in parts)}</p>")


def strong(value: Any) -> Html:
    """Return a text that stands out."""
    return Html(f"<b>{text(value)}</b>")


def facts(values: Mapping[str, str]) -> Html:
    """Return figures with their names, as a list of definitions."""
    cells = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in values.items()
    )
    return Html(f'<dl class="facts">{cells}</dl>')


def section(title: str, *bodies: str) -> Html:
    """Return a section with its heading; empty when it has nothing in it."""
    body = "\n".join(body for body in bodies if body)
    if not body:
        return Html("")
    name = anchor(title)
    return Html(
        f'<section id="{name}" aria-labelledby="{name}-heading"><h2 id="{name}-heading">{text(title)}</h2>\n'
        f"{body}</section>"
    )


def anchor(title: str) -> str:
    """Return the name by which a section is linked to."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def count(number_of: int, noun: str) -> str:
    """Write a number of things."""
    return f"{number_of:,} {noun}{'' if number_of == 1 else 's'}"


def number(value: float | None) -> str:
    """Write a number for reading: whole numbers with separators, others with four significant digits."""
    if value is None or value != value:
        return "–"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def size(of_bytes: int) -> str:
    """Write a size in bytes for reading."""
    for unit, of_unit in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if of_bytes >= of_unit:
            return f"{of_bytes / of_unit:.3g} {unit}"
    return count(of_bytes, "byte")
