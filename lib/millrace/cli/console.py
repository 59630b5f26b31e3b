"""Where words go: the answer to standard output, all else to standard error."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO


class Console:
    """The two streams of a command.

    Parameters
    ----------
    as_json : bool
        Whether standard output carries one JSON object and nothing else.
    out, err : file objects, optional
        Standard output and standard error when absent.
    """

    def __init__(
        self, *, as_json: bool = False, out: TextIO | None = None, err: TextIO | None = None
    ) -> None:
        self.as_json = as_json
        self.out = out if out is not None else sys.stdout
        self.err = err if err is not None else sys.stderr

    def say(self, text: str = "") -> None:
        """Write a message for people to standard error."""
        print(text, file=self.err, flush=True)

    def answer(self, data: Any, text: str) -> None:
        """Write the command's answer: ``data`` as JSON with ``--json``, else ``text``."""
        if self.as_json:
            json.dump(data, self.out, ensure_ascii=False, allow_nan=False)
            self.out.write("\n")
        elif text:
            self.out.write(text + "\n")
        self.out.flush()


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Lay out rows under their heads, in columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [heads, *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def number(value: float | None) -> str:
    """Write a figure for reading: four significant digits, whole numbers with separators."""
    if value is None:
        return "-"
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def usd(value: float) -> str:
    """Write a sum of money; small sums keep two significant digits."""
    return f"${value:.2f}" if value >= 1 else f"${value:.2g}" if value >= 0.0001 else f"${value:.1e}"
