"""The file format of a scoring plan: protocol 2.

::

    offset  size  what
    0       8     magic
    8       4     protocol number, unsigned
    12      4     size of the stored header in bytes, unsigned
    16      8     size of the whole file in bytes, unsigned
    24      8     size of the header's text in bytes, unsigned
    32      ...   header: one JSON object in UTF-8, deflated (RFC 1951)
    ...     ...   arrays, one after the other
    -32     32    SHA-256 of everything before it

All numbers are little-endian; header and arrays are each padded with zeros to a multiple of 8. The header's
``arrays`` lists each array's type code (``d`` float64, ``f`` float32, ``i`` int32, ``H`` uint16, ``B``
uint8), its number of elements, and how it is stored when that is not as it is; offsets follow from that, so
no file can state wrong ones:

``[code, elements]``
    The elements.
``[code, elements, bytes]``
    The elements, deflated to so many bytes.
``[code, elements, bytes, planes]``
    Byte by byte: the first byte of every element, then the second of every one, and so on, which are the
    array's planes. ``planes`` is a set of bits, the first plane's the lowest: first come the planes
    whose bit is 0, as they are; then those whose bit is 1, deflated together. The two have so many bytes.

``texts`` holds the header's long lists of texts, because one list often stands in several places or is a
part of another: ``[pool, list, ...]``, where each list is ``[runs, path, ...]``. ``runs`` is a flat list of
pairs: a position of the pool and how many texts to take from there, or -1 and how many nulls. A path is the
list of keys and positions that lead from the header to a place of the list. The other members:

``model``, ``task``, ``classes``
    Name; ``binary``, ``multiclass`` or ``regression``; labels in the order of the probabilities.
``signature``, ``ignored``
    The fields that a row has (see :mod:`millrace.plan.signature`); columns of the training file that the
    model does not use.
``features``, ``estimator``
    What is computed (see :mod:`millrace.plan.kinds`), with arrays named by their index.
``interval``
    Null, or for regression ``level``, ``below`` and ``above``: a prediction plus ``below`` and plus ``above``
    are the bounds that hold a share ``level`` of the values.
``typical``
    Null or absent, or what explanations compare a row with: a value for each field, a number (0 or 1 for a
    boolean, seconds since 1970 for a time) or a text, null when it is missing.
``certificate``, ``libraries``, ``about``
    Parity with the pipeline it was compiled from; versions of what trained it; whatever else the run says.

Changing the format
-------------------
A new kind of encoder or estimator, or a new optional member, needs no new protocol number: a reader that
does not know it refuses it by name. Anything that would make an old reader compute something else does:

1. raise ``PROTOCOL`` and describe the difference in this docstring, under the old number;
2. keep reading every older number, with the difference handled here and nowhere else;
3. add a file written by the last release to the tests' fixtures and never remove one.

Protocol 1: the preamble ends at byte 24, the header is not deflated but padded with blanks to a multiple of
8, there is no ``texts``, and every array is stored as it is.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib

from millrace.errors import BadInput, TooLarge
from millrace.plan import kinds
from millrace.plan.signature import LARGEST, Signature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    ArraysBase = Sequence[memoryview]
else:
    ArraysBase = object  # an abstract class takes longer to make than it is worth here

__all__ = [
    "ITEM_BYTES",
    "MAX_HEADER_BYTES",
    "MAX_PLAN_BYTES",
    "MAX_TEXTS",
    "PROTOCOL",
    "Arrays",
    "Plan",
    "read",
]

PROTOCOL = 2
MAX_PLAN_BYTES = 512 << 20
"""The largest plan that is read, as a file and inflated: a quarter of the memory of a function of 2 GB."""
MAX_HEADER_BYTES = 32 << 20
"""The longest header that is read: JSON may take twenty times its size in memory."""
MAX_TEXTS = 1 << 22
"""Most texts in all lists of a header that are stored apart."""
ITEM_BYTES = {"d": 8, "f": 4, "i": 4, "H": 2, "B": 1}
"""Size of an array's elements by type code."""

MAGIC = b"\x89MRPLAN\n"
PREAMBLE = struct.Struct("<8sIIQQ")
_FIRST = struct.Struct("<8sIIQ")
DIGEST_BYTES = 32
_AS_IT_IS, _DEFLATED = -1, 0
"""What stands for the planes of an array that is stored without any."""


class Plan:
    """A scoring plan that has been read and checked.

    Attributes
    ----------
    header : dict
        The whole JSON header, with its texts in their places.
    arrays : Arrays
        Typed views of the arrays.
    signature : Signature
        What a row must look like.
    model : str
        Name of the model.
    task : str
        ``"binary"``, ``"multiclass"`` or ``"regression"``.
    classes : tuple of str
        Labels in the order of the probabilities; empty for regression.
    """

    __slots__ = ("arrays", "classes", "header", "model", "signature", "task")

    def __init__(self, header: dict[str, Any], arrays: Arrays) -> None:
        self.header = header
        self.arrays = arrays
        self.model: str = header["model"]
        self.task: str = header["task"]
        self.classes: tuple[str, ...] = tuple(header["classes"])
        self.signature = Signature(header["signature"], header["ignored"])


class Arrays(ArraysBase):
    """The arrays of a plan, each made when it is first asked for: a row may need few of them."""

    __slots__ = ("_made", "_stored")

    def __init__(self, stored: list[tuple[str, int, memoryview, int]]) -> None:
        self._stored = stored
        self._made: list[memoryview | None] = [None] * len(stored)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, index: int) -> memoryview:  # type: ignore[override]
        """Return a read-only view of an array's elements; there are no slices."""
        made = self._made[index]
        if made is None:
            code, elements, stored, planes = self._stored[index]
            made = _elements(code, elements, stored, planes, f"arrays[{index}]")
            self._made[index] = made
        return made

    def declared(self, index: int) -> tuple[str, int]:
        """Return an array's type code and number of elements, without making it."""
        return self._stored[index][:2]


def read(data: bytes, *, max_bytes: int = MAX_PLAN_BYTES) -> Plan:
    """Read a plan and check that it can be evaluated: no index out of range, no loop.

    Parameters
    ----------
    data : bytes
        The whole file. Arrays that are stored as they are become views into it.
    max_bytes : int
        The largest file that is accepted, and the most that its arrays may inflate to.

    Raises
    ------
    TooLarge
        ``plan-too-large``: over ``max_bytes``, or a header over :data:`MAX_HEADER_BYTES`.
    BadInput
        ``plan-magic``: no plan. ``plan-protocol``: written by a newer release. ``plan-truncated``,
        ``plan-oversized``: shorter or longer than it says. ``plan-checksum``: bytes were changed.
        ``plan-header``: the header is malformed, or names something that this release does not know.
        ``plan-dimensions``: arrays that do not fit the file, the signature or each other.
    """
    if len(data) > max_bytes:
        raise _too_large("The scoring plan", len(data), max_bytes)
    protocol, start, stored_bytes = _check_frame(data)
    text: Any = memoryview(data)[start : start + stored_bytes]
    if protocol == 1:
        header = _header(text)
    else:
        header = _header(_inflate(text, PREAMBLE.unpack_from(data)[4], "plan-header", "byte 24"))
        _put_texts(header)
    body = memoryview(data)[start + stored_bytes + -stored_bytes % 8 : -DIGEST_BYTES]
    arrays = _arrays(body, header, max_bytes)
    _check_members(header)
    kinds.check(header, arrays)
    return Plan(header, arrays)


def _damaged(what: str, code: str, where: str = "") -> BadInput:
    return BadInput(what, code=code, where=where, remedy="Copy the file again, or train the model again.")


def _too_large(what: str, size: int, limit: int) -> TooLarge:
    return TooLarge(
        f"{what} has {size:,} bytes, and at most {limit:,} are read",
        code="plan-too-large",
        remedy="Train with a smaller budget or fewer columns.",
    )


def _check_frame(data: bytes) -> tuple[int, int, int]:
    """Return the protocol, and where the header starts and how many bytes it has."""
    head = data[: _FIRST.size]
    if head[: len(MAGIC)] != MAGIC[: len(head)]:
        raise _damaged("This is not a scoring plan", "plan-magic", "byte 0")
    if len(head) < _FIRST.size:
        raise _damaged(f"The scoring plan ends after {len(head)} bytes", "plan-truncated")
    _, protocol, header_bytes, total = _FIRST.unpack(head)
    if not 1 <= protocol <= PROTOCOL:
        raise BadInput(
            f"The scoring plan has protocol {protocol}, and this release reads up to {PROTOCOL}",
            code="plan-protocol",
            where="byte 8",
            remedy="Upgrade Millrace, or train the model again with this release.",
        )
    if len(data) < total:
        raise _damaged(f"The scoring plan ends after {len(data):,} of {total:,} bytes", "plan-truncated")
    if len(data) > total:
        raise _damaged(f"The scoring plan has {len(data):,} bytes instead of {total:,}", "plan-oversized")
    start = _FIRST.size if protocol == 1 else PREAMBLE.size
    if total % 8 or total < start + header_bytes + -header_bytes % 8 + DIGEST_BYTES:
        raise _damaged("The scoring plan's header does not fit into it", "plan-dimensions", "byte 12")
    if hashlib.sha256(memoryview(data)[:-DIGEST_BYTES]).digest() != data[-DIGEST_BYTES:]:
        raise _damaged("The scoring plan's checksum does not match its content", "plan-checksum")
    header_text = header_bytes if protocol == 1 else PREAMBLE.unpack_from(data)[4]
    if header_text > MAX_HEADER_BYTES:
        raise _too_large("The scoring plan's header", header_text, MAX_HEADER_BYTES)
    return protocol, start, header_bytes


def _inflate(stored: memoryview, size: int, code: str, where: str) -> bytes:
    """Inflate to exactly that size: never more than one byte beyond it is made."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(stored, size + 1)
    except zlib.error:
        content = b""
    if len(content) != size or not inflater.eof or inflater.unused_data:
        raise _damaged(f"A part of the scoring plan does not inflate to {size:,} bytes", code, where)
    return content


def _header(text: Any) -> dict[str, Any]:
    try:
        header = json.loads(str(text, "utf-8", "surrogatepass"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise _damaged("The scoring plan's header is not JSON", "plan-header") from None
    if not isinstance(header, dict):
        raise _damaged("The scoring plan's header is not an object", "plan-header")
    return header


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _put_texts(header: dict[str, Any]) -> None:
    """Put the lists of texts into their places."""
    texts = header.pop("texts", None)
    try:
        total = 0
        pool, *lists = texts
        for runs, *paths in lists:
            items: list[str | None] = []
            for start, count in zip(runs[::2], runs[1::2], strict=True):
                total += count
                if count < 0 or total > MAX_TEXTS:
                    raise ValueError
                items += pool[start : start + count] if start >= 0 else [None] * count
            if len(items) != sum(runs[1::2]):
                raise ValueError
            for path in paths:
                place: Any = header
                for step in path[:-1]:
                    place = place[step]
                place[path[-1]] = items
    except (TypeError, ValueError, LookupError):
        raise _damaged("The scoring plan's texts are malformed", "plan-header", "texts") from None


def _arrays(body: memoryview, header: dict[str, Any], max_bytes: int) -> Arrays:
    table = header.get("arrays")
    if not isinstance(table, list):
        raise _damaged("The scoring plan's header lists no arrays", "plan-header", "arrays")
    arrays: list[tuple[str, int, memoryview, int]] = []
    offset = inflated = 0
    for number, entry in enumerate(table):
        if not (
            isinstance(entry, list)
            and 2 <= len(entry) <= 4
            and isinstance(entry[0], str)
            and entry[0] in ITEM_BYTES
            and all(type(size) is int and size >= 0 for size in entry[1:])
            and entry[3:] != [0]
        ):
            raise _damaged("An array has no type and size", "plan-header", f"arrays[{number}]")
        made = ITEM_BYTES[entry[0]] * entry[1]
        stored = made if len(entry) == 2 else entry[2]
        planes = (_AS_IT_IS, _DEFLATED, *entry[3:])[len(entry) - 2]
        if offset + stored > len(body):
            raise _damaged("An array is longer than the scoring plan", "plan-dimensions", f"arrays[{number}]")
        arrays.append((entry[0], entry[1], body[offset : offset + stored], planes))
        offset += stored + -stored % 8
        inflated += made
    if offset != len(body):
        raise _damaged("The scoring plan holds more than its arrays", "plan-dimensions", "arrays")
    if inflated > max_bytes:
        raise _too_large("The scoring plan, inflated,", inflated, max_bytes)
    return Arrays(arrays)


def _elements(code: str, elements: int, stored: memoryview, planes: int, where: str) -> memoryview:
    if planes == _AS_IT_IS:
        return stored.cast(code)  # type: ignore[call-overload, no-any-return]
    size = ITEM_BYTES[code]
    if planes == _DEFLATED:
        stored = memoryview(_inflate(stored, size * elements, "plan-dimensions", where))
        return stored.cast(code)  # type: ignore[call-overload, no-any-return]
    deflated = [byte for byte in range(size) if planes >> byte & 1]
    plain = [byte for byte in range(size) if not planes >> byte & 1]
    rest = len(plain) * elements
    if planes >> size or rest > len(stored):
        raise _damaged("An array is not stored as the scoring plan says", "plan-dimensions", where)
    inflated = _inflate(stored[rest:], len(deflated) * elements, "plan-dimensions", where)
    made = bytearray(size * elements)
    for parts, places in ((stored, plain), (inflated, deflated)):
        for number, byte in enumerate(places):
            made[byte::size] = parts[number * elements : (number + 1) * elements]
    return memoryview(made).toreadonly().cast(code)  # type: ignore[call-overload, no-any-return]


def _check_members(header: dict[str, Any]) -> None:
    task, classes = header.get("task"), header.get("classes")
    fields, ignored = header.get("signature"), header.get("ignored")
    expected = {
        "model": isinstance(header.get("model"), str),
        "task": task in ("binary", "multiclass", "regression"),
        "classes": _is_text_list(classes) and bool(classes) == (task != "regression"),
        "signature": _is_signature(fields),
        "ignored": _is_text_list(ignored),
        "features": isinstance(header.get("features"), list),
        "estimator": isinstance(header.get("estimator"), dict),
        "interval": header.get("interval") is None or _is_interval(header["interval"]),
    }
    for member, holds in expected.items():
        if not holds:
            raise _malformed(member)
    if header.get("typical") is not None and not _is_row(header["typical"], fields):
        raise _malformed("typical")


def _malformed(member: str) -> BadInput:
    return _damaged("A member of the scoring plan's header is malformed", "plan-header", member)


def _is_signature(fields: Any) -> bool:
    return (
        isinstance(fields, list)
        and all(Signature.is_field(field) for field in fields)
        and 0 < len({field["name"] for field in fields}) == len(fields)
    )


def _is_interval(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(name), (int, float)) for name in ("level", "below", "above")
    )


def _is_row(values: Any, fields: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) == len(fields)
        and all(
            value is None
            or (
                isinstance(value, str)
                if field["type"] in ("category", "text")
                else type(value) in (int, float) and abs(value) <= LARGEST
            )
            for value, field in zip(values, fields, strict=True)
        )
    )


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
