"""Writes many numbers as text."""

from __future__ import annotations

import ctypes
from array import array

from millrace.scoring.kernel.library import Unavailable, library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["spelled"]

_MOST_BYTES = 25
"""Of the longest number, ``-2.2250738585072014e-308``, and the line feed behind it."""


def spelled(numbers: Iterable[float]) -> list[str]:
    """Spell numbers as JSON has them: each as ``repr`` does, or ``null`` where it is not finite.

    Raises
    ------
    TypeError
        One is no number.
    """
    values = array("d", numbers)
    try:
        spell = library().millrace_spell
    except Unavailable:
        return [repr(value) if value - value == 0.0 else "null" for value in values]
    text = ctypes.create_string_buffer(_MOST_BYTES * len(values) + 1)
    size = spell(values.buffer_info()[0], len(values), text)
    return text.raw[:size].decode("ascii").splitlines()
