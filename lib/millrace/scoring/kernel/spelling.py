"""Writes many numbers as text, each as ``repr`` does."""

from __future__ import annotations

from array import array

from millrace.scoring.kernel.library import Unavailable, address, library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["MOST_BYTES", "spell", "spelled"]

MOST_BYTES = 28
"""Of the longest number, ``-2.2250738585072014e-308``, and what stands behind it: at most one character."""


def spelled(numbers: Iterable[float]) -> list[str]:
    """Return the text of each number, ``null`` where it is not finite.

    Raises
    ------
    TypeError
        One is no number.
    """
    values = array("d", numbers)
    text = bytearray(MOST_BYTES * len(values))
    return text[: spell(values, 1, text, missing="null")].decode("ascii").splitlines()


def spell(
    numbers: Any, width: int, text: Any, ends: Any = None, *, between: str = "", missing: str = ""
) -> int:
    """Write rows of numbers, a line each, in UTF-8; return how many bytes they have.

    Without a kernel they are written one by one.

    Parameters
    ----------
    numbers : buffer of float64
        Contiguous, row by row.
    width : int
        Numbers of a row.
    text : buffer
        Where they are written, of :data:`MOST_BYTES` a number.
    ends : buffer of int32, optional
        As many as rows, which become the places where their lines end.
    between, missing : str
        The character between the numbers of a row, and what is written for one that is not finite.
    """
    try:
        write = library().millrace_spell
    except Unavailable:
        return _one_by_one(numbers, width, text, ends, between, missing)
    # With each place stands who owns the memory there, a copy perhaps: it must live until the call is over.
    kept = [address(numbers), address(text), (None, None) if ends is None else address(ends)]
    marks = between.encode(), missing.encode()
    rows = memoryview(numbers).nbytes // (8 * width)
    size: int = write(kept[0][0], rows, width, *marks, kept[1][0], kept[2][0])
    return size


def _one_by_one(numbers: Any, width: int, text: Any, ends: Any, between: str, missing: str) -> int:
    view = memoryview(numbers)
    values = view.cast("B").cast("d").tolist() if view.nbytes else []
    cells = [repr(value) if value - value == 0.0 else missing for value in values]
    room, size = memoryview(text), 0
    for row, line in enumerate(zip(*[iter(cells)] * width, strict=True)):
        written = f"{between.join(line)}\n".encode()
        room[size : size + len(written)] = written
        size += len(written)
        if ends is not None:
            ends[row] = size
    return size
