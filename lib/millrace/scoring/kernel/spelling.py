"""Writes many numbers as text: each as ``repr`` does, or ``null`` where it is not finite."""

from __future__ import annotations

import ctypes
from array import array

from millrace.scoring.kernel.library import Unavailable, address, library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["MOST_BYTES", "spell", "spelled"]

MOST_BYTES = 25
"""Of the longest number, ``-2.2250738585072014e-308``, and a line feed behind it."""


def spelled(numbers: Iterable[float]) -> list[str]:
    """Return the text of each number; without a kernel they are spelled one by one.

    Raises
    ------
    TypeError
        One is no number.
    """
    values = array("d", numbers)
    text = ctypes.create_string_buffer(MOST_BYTES * len(values) + 1)
    try:
        return ctypes.string_at(text, spell(values, text)).decode("ascii").splitlines()
    except Unavailable:
        return [repr(value) if value - value == 0.0 else "null" for value in values]


def spell(numbers: Any, text: Any, ends: Any = None) -> int:
    """Write the texts of numbers, in ASCII; return how many bytes they have.

    Parameters
    ----------
    numbers : buffer of float64
        Contiguous.
    text : buffer
        Where they are written, of :data:`MOST_BYTES` a number.
    ends : buffer of int32, optional
        As many as numbers, which become the places where their texts end; without it a line feed stands
        behind each.

    Raises
    ------
    Unavailable
        There is no kernel.
    """
    # With each place stands who owns the memory there, a copy perhaps: it must live until the call is over.
    kept = [address(numbers), address(text), (None, None) if ends is None else address(ends)]
    size: int = library().millrace_spell(kept[0][0], len(numbers), kept[1][0], kept[2][0])
    return size
