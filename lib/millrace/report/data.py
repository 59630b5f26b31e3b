"""What the file holds: what was left out and why, and every column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.report.html import Html, cell, count, number, paragraph, table

__all__ = ["columns", "left_out"]

MAX_COLUMNS = 150
"""Columns that are shown; ``report.json`` has all."""


def left_out(description: Mapping[str, Any]) -> list[str]:
    """Show the columns that the model does not look at."""
    absent = [c for c in description["columns"] if c["role"] not in ("feature", "target")]
    if not absent:
        return [paragraph("Every column but the target is looked at.")]
    lines = [[c["name"], c["role"], c["reason"]] for c in absent[:MAX_COLUMNS]]
    return [table(_first("Left out", absent), ["column", "as", "because"], lines)]


def columns(evaluation: Mapping[str, Any], description: Mapping[str, Any]) -> list[str]:
    """Show every column: what it holds, how it goes with the target, what became of it."""
    every = description["columns"]
    if not every:
        return []
    became = evaluation["features"]
    lines = []
    for column in _chosen(every, evaluation):
        distinct = "over 1,000" if column["distinct"] is None else number(column["distinct"])
        about = "" if column["distinct_exact"] or column["distinct"] is None else "≈ "
        lines.append(
            [
                column["name"],
                column["type"],
                column["role"],
                cell(number(column["missing"])),
                cell(about + distinct),
                _values(column),
                cell(number(column["association"]), "number", column["association_measure"]),
                cell(number(column["alone"])),
                cell(number(column["drift"])),
                column["reason"] or became.get(column["name"], ""),
                "; ".join(column["warnings"]),
            ]
        )
    heads = ["column", "type", "role", "missing", "distinct", "values", "with the target", "alone", "drift"]
    caption = count(len(every), "column")
    if len(lines) < len(every):
        caption += f", of which the {len(lines)} with a warning or the most importance"
    return [
        *_estimates(description),
        table(caption, [*heads, "what became of it", "look at"], lines),
    ]


def _chosen(every: Sequence[Mapping[str, Any]], evaluation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the columns to show, in the file's order."""
    if len(every) <= MAX_COLUMNS:
        return list(every)
    place = {entry["column"]: rank for rank, entry in enumerate(evaluation.get("importance", []))}

    def rank(index: int) -> tuple[bool, bool, int]:
        column = every[index]
        return column["role"] != "target", not column["warnings"], place.get(column["name"], len(place))

    return [every[index] for index in sorted(sorted(range(len(every)), key=rank)[:MAX_COLUMNS])]


def _first(caption: str, items: Sequence[Any]) -> str:
    return caption if len(items) <= MAX_COLUMNS else f"{caption}, the first {MAX_COLUMNS} of {len(items):,}"


def _estimates(description: Mapping[str, Any]) -> list[Html]:
    order = description["time_column"]
    said = [
        paragraph(
            "Of numbers and times: least · median · greatest. With the target: Spearman's correlation, the "
            "correlation ratio or Cramér's V. Alone: the share of the target that the column predicts by "
            "itself. Drift: the distance of the later half of the rows from the earlier, by "
            f"{order if order else 'their order in the file'}."
        )
    ]
    if description["sample_error"]:
        said.append(
            paragraph(
                "Medians, shares marked ≈, and the last three are estimates from "
                f"{count(description['sample_rows'], 'row')}: a share, and the place of a median, is right "
                f"to {description['sample_error']:.1%} of the rows with a certainty of "
                f"{description['confidence']:.0%}."
            )
        )
    return said


def _values(column: Mapping[str, Any]) -> str:
    """Return the range of a number or time, and of others the most frequent values with their shares."""
    if column["minimum"] is not None:
        ends = [column["minimum"], column["quantiles"].get("0.5"), column["maximum"]]
        return " · ".join(_point(value) for value in ends if value is not None)
    about = "" if column["top_exact"] else "≈ "
    return ", ".join(f"{value} ({about}{share:.0%})" for value, share in column["top"])


def _point(value: float | str) -> str:
    return value.removesuffix(" 00:00:00") if isinstance(value, str) else number(value)
