"""``millrace rejects``: the records that a run did not use, and why, in a file that can be corrected."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from millrace.cli.console import Console, number, table
from millrace.cli.http import Api, quote

_SHOWN = 20
_SHOWN_CHARACTERS = 60


def rejects(api: Api, console: Console, run_id: str, *, output: Path | None = None) -> int:
    """Show a run's rejected records; return the exit code.

    Parameters
    ----------
    api, console
        The deployment, and where words go.
    run_id : str
        The run.
    output : Path, optional
        A CSV file with the original header and every rejected record as it came, in the original dialect and
        encoding; lines, byte offsets, columns and reasons go to ``<output>.reasons.csv``, a line for each.
    """
    pages = _pages(api, run_id)
    first = next(pages)
    shown: list[dict[str, Any]] = []
    count = 0
    if output is None:
        for page in (first, *pages):
            count += len(page["rejects"])
            shown += page["rejects"][: _SHOWN - len(shown)] if len(shown) < _SHOWN else []
    else:
        reasons = output.with_name(output.name + ".reasons.csv")
        with output.open("wb") as records, reasons.open("w", encoding="utf-8", newline="") as told:
            listed = csv.writer(told)
            listed.writerow(("line", "offset", "column", "reason"))
            records.write(first["header"].encode(first["encoding"], "replace"))
            for page in (first, *pages):
                for reject in page["rejects"]:
                    text = reject["record"]
                    end = "" if text.endswith(("\n", "\r")) else "\n"
                    records.write((text + end).encode(page["encoding"], "surrogateescape"))
                    listed.writerow([reject[name] for name in ("line", "offset", "column", "reason")])
                count += len(page["rejects"])
    answer = {"run": run_id, "rejects": count, "output": None if output is None else str(output)}
    console.answer({**answer, "shown": shown}, _describe(count, shown, output))
    return 0


def _pages(api: Api, run_id: str) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        page = api.get(f"/runs/{quote(run_id)}/rejects", cursor=cursor)
        yield page
        cursor = page["next"]
        if cursor is None:
            return


def _describe(count: int, shown: list[dict[str, Any]], output: Path | None) -> str:
    if not count:
        return "No record was rejected."
    if output is not None:
        return (
            f"{number(count)} records are in {output}, their lines and reasons in {output.name}.reasons.csv. "
            "Correct them, and upload the file as any other."
        )
    rows = [
        [str(one["line"]), one["column"], one["reason"], repr(one["record"][:_SHOWN_CHARACTERS])]
        for one in shown
    ]
    more = (
        f"\n… and {number(count - len(shown))} more; --output FILE writes all." if count > len(shown) else ""
    )
    return table(["line", "column", "reason", "record"], rows) + more
