"""Binary tensors: little-endian, row by row, without padding; texts each with their length in front."""

from __future__ import annotations

import struct
import sys
from array import array

from millrace.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["FORMATS", "pack", "unpack"]

FORMATS = {
    "BOOL": "?",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "FP32": "f",
    "FP64": "d",
}
"""Datatype -> format of the memoryview that its elements are read through."""
_LENGTH = struct.Struct("<I")
assert sys.byteorder == "little", "Lambda's processors are"


def unpack(datatype: str, data: memoryview, count: int, where: str) -> memoryview[Any] | list[str]:
    """Return the elements of a tensor: numbers and booleans where they lie, texts decoded.

    Raises
    ------
    BadInput
        The data are not ``count`` elements.
    """
    if datatype == "BYTES":
        return _texts(data, count, where)
    form: Any = FORMATS[datatype]
    size_bytes = count * struct.calcsize(form)
    if len(data) != size_bytes:
        raise _wrong(f"It has {len(data)} bytes, and {count} elements have {size_bytes}", where)
    elements: memoryview[Any] = data.cast(form)
    return elements


def _texts(data: memoryview, count: int, where: str) -> list[str]:
    texts = []
    at = 0
    try:
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size + length
            if at > len(data):
                break
            texts.append(str(data[at - length : at], "utf-8"))
    except (struct.error, UnicodeDecodeError) as error:
        raise _wrong(f"Element {len(texts)} cannot be read: {error}", where) from None
    if len(texts) != count or at != len(data):
        raise _wrong(f"Its {len(data)} bytes are not {count} texts with their lengths", where)
    return texts


def pack(datatype: str, values: Sequence[Any]) -> bytes:
    """Return the binary form of an output, ``FP64`` or ``BYTES``.

    Parameters
    ----------
    datatype : str
        One of the two.
    values : sequence
        Numbers, where ``None`` becomes NaN, or labels, where it becomes the empty text.
    """
    if datatype == "FP64":
        return array("d", [float("nan") if value is None else value for value in values]).tobytes()
    forms: dict[Any, bytes] = {}
    for value in set(values):
        text = (value or "").encode()
        forms[value] = _LENGTH.pack(len(text)) + text
    return b"".join(map(forms.__getitem__, values))


def _wrong(what: str, where: str) -> BadInput:
    return BadInput(
        what, code="tensor-size", where=where, remedy="Send as many elements as the tensor's shape says."
    )
