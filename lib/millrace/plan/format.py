"""The file format of a scoring plan.

::

    offset  size  what
    0       8     magic
    8       4     protocol number, unsigned
    12      4     size of the header in bytes, unsigned
    16      8     size of the whole file in bytes, unsigned
    24      ...   header: one JSON object in UTF-8, padded with blanks to a multiple of 8
    ...     ...   arrays, one after the other, each padded with zeros to a multiple of 8
    -32     32    SHA-256 of everything before it

All numbers are little-endian. The header's ``arrays`` lists each array's type code (``d`` float64, ``f``
float32, ``i`` int32, ``H`` uint16, ``B`` uint8) and its number of elements; offsets follow from that, so no
file can state wrong ones. The other members:

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
``certificate``, ``libraries``, ``about``
    Parity with the pipeline it was compiled from; versions of what trained it; whatever else the run says.

Changing the format
-------------------
A new kind of encoder or estimator, or a new optional member, needs no new protocol number: a reader that
does not know it refuses it by name. Anything that would make an old reader compute something else does:

1. raise ``PROTOCOL`` and describe the difference in this docstring, under the old number;
2. keep reading every older number, with the difference handled here and nowhere else;
3. add a file written by the last release to the tests' fixtures and never remove one.

Protocol 1: the first.
"""

from __future__ import annotations

import hashlib
import json
import struct

from millrace.errors import BadInput, TooLarge
from millrace.plan import kinds
from millrace.plan.signature import Signature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

__all__ = ["MAX_PLAN_BYTES", "PROTOCOL", "Plan", "read", "write"]

PROTOCOL = 1
MAX_PLAN_BYTES = 512 << 20
"""The largest plan that is read: a quarter of the memory that a function of 2 GB has."""

_MAGIC = b"\x89MRPLAN\n"
_PREAMBLE = struct.Struct("<8sIIQ")
_DIGEST_BYTES = 32
_ITEM_BYTES = {"d": 8, "f": 4, "i": 4, "H": 2, "B": 1}


class Plan:
    """A scoring plan that has been read and checked.

    Attributes
    ----------
    header : dict
        The whole JSON header.
    arrays : tuple of memoryview
        Typed views into the file's bytes.
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

    def __init__(self, header: dict[str, Any], arrays: tuple[memoryview, ...]) -> None:
        self.header = header
        self.arrays = arrays
        self.model: str = header["model"]
        self.task: str = header["task"]
        self.classes: tuple[str, ...] = tuple(header["classes"])
        self.signature = Signature(header["signature"], header["ignored"])


def write(header: Mapping[str, Any], arrays: Sequence[Any]) -> bytes:
    """Write a plan.

    Parameters
    ----------
    header : mapping
        Everything but ``arrays``, in JSON types without NaN and infinity.
    arrays : sequence of buffers
        One-dimensional and contiguous: ``array.array``, numpy arrays or memoryviews of the five types.

    Returns
    -------
    bytes
        The file. The same input gives the same bytes.

    Raises
    ------
    ValueError
        A number of the header is not finite, or an array is of another type: a fault of the caller.
    """
    views = [memoryview(array) for array in arrays]
    for view in views:
        if view.format not in _ITEM_BYTES or view.ndim != 1 or not view.contiguous:
            raise ValueError(f"A plan holds no array of type {view.format!r} with {view.ndim} dimensions")
    table = [[view.format, len(view)] for view in views]
    document = {**header, "arrays": table}
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
    encoded = text.encode("utf-8", "surrogatepass")
    encoded += b" " * (-len(encoded) % 8)
    total = _PREAMBLE.size + len(encoded) + sum(_padded(v.nbytes) for v in views) + _DIGEST_BYTES
    parts = [_PREAMBLE.pack(_MAGIC, PROTOCOL, len(encoded), total), encoded]
    for view in views:
        parts += [view.tobytes(), bytes(-view.nbytes % 8)]
    body = b"".join(parts)
    return body + hashlib.sha256(body).digest()


def read(data: bytes, *, max_bytes: int = MAX_PLAN_BYTES) -> Plan:
    """Read a plan and check that it can be evaluated: no index out of range, no loop.

    Parameters
    ----------
    data : bytes
        The whole file. The plan's arrays are views into it.
    max_bytes : int
        The largest file that is accepted.

    Raises
    ------
    TooLarge
        ``plan-too-large``: over ``max_bytes``.
    BadInput
        ``plan-magic``: no plan. ``plan-protocol``: written by a newer release. ``plan-truncated``,
        ``plan-oversized``: shorter or longer than it says. ``plan-checksum``: bytes were changed.
        ``plan-header``: the header is malformed, or names something that this release does not know.
        ``plan-dimensions``: arrays that do not fit the file, the signature or each other.
    """
    if len(data) > max_bytes:
        raise TooLarge(
            f"The scoring plan has {len(data):,} bytes, and at most {max_bytes:,} are read",
            code="plan-too-large",
            remedy="Train with a smaller budget or fewer columns.",
        )
    header_bytes = _check_frame(data)
    start = _PREAMBLE.size
    header = _header(data[start : start + header_bytes])
    arrays = _arrays(memoryview(data)[start + header_bytes : -_DIGEST_BYTES], header)
    _check_members(header)
    kinds.check(header, arrays)
    return Plan(header, arrays)


def _padded(size: int) -> int:
    return size + -size % 8


def _damaged(what: str, code: str, where: str = "") -> BadInput:
    return BadInput(what, code=code, where=where, remedy="Copy the file again, or train the model again.")


def _check_frame(data: bytes) -> int:
    head = data[: _PREAMBLE.size]
    if head[: len(_MAGIC)] != _MAGIC[: len(head)]:
        raise _damaged("This is not a scoring plan", "plan-magic", "byte 0")
    if len(head) < _PREAMBLE.size:
        raise _damaged(f"The scoring plan ends after {len(head)} bytes", "plan-truncated")
    _, protocol, header_bytes, total = _PREAMBLE.unpack(head)
    if protocol != PROTOCOL:
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
    if header_bytes % 8 or total < _PREAMBLE.size + header_bytes + _DIGEST_BYTES:
        raise _damaged("The scoring plan's header does not fit into it", "plan-dimensions", "byte 12")
    body = memoryview(data)[:-_DIGEST_BYTES]
    if hashlib.sha256(body).digest() != data[-_DIGEST_BYTES:]:
        raise _damaged("The scoring plan's checksum does not match its content", "plan-checksum")
    return int(header_bytes)


def _header(encoded: bytes) -> dict[str, Any]:
    try:
        header = json.loads(encoded.decode("utf-8", "surrogatepass"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise _damaged("The scoring plan's header is not JSON", "plan-header") from None
    if not isinstance(header, dict):
        raise _damaged("The scoring plan's header is not an object", "plan-header")
    return header


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _arrays(body: memoryview, header: dict[str, Any]) -> tuple[memoryview, ...]:
    table = header.get("arrays")
    if not isinstance(table, list):
        raise _damaged("The scoring plan's header lists no arrays", "plan-header", "arrays")
    views: list[Any] = []
    offset = 0
    for number, entry in enumerate(table):
        if not (
            isinstance(entry, list)
            and len(entry) == 2
            and entry[0] in _ITEM_BYTES
            and type(entry[1]) is int
            and entry[1] >= 0
        ):
            raise _damaged("An array has no type and size", "plan-header", f"arrays[{number}]")
        size = _ITEM_BYTES[entry[0]] * entry[1]
        if offset + _padded(size) > len(body):
            raise _damaged("An array is longer than the scoring plan", "plan-dimensions", f"arrays[{number}]")
        views.append(body[offset : offset + size].cast(entry[0]))
        offset += _padded(size)
    if offset != len(body):
        raise _damaged("The scoring plan holds more than its arrays", "plan-dimensions", "arrays")
    return tuple(views)


def _check_members(header: dict[str, Any]) -> None:
    task, classes = header.get("task"), header.get("classes")
    fields, ignored = header.get("signature"), header.get("ignored")
    expected = {
        "model": isinstance(header.get("model"), str),
        "task": task in ("binary", "multiclass", "regression"),
        "classes": _is_text_list(classes) and bool(classes) == (task != "regression"),
        "signature": isinstance(fields, list) and all(Signature.is_field(field) for field in fields),
        "ignored": _is_text_list(ignored),
        "features": isinstance(header.get("features"), list),
        "estimator": isinstance(header.get("estimator"), dict),
        "interval": header.get("interval") is None or _is_interval(header["interval"]),
    }
    for member, holds in expected.items():
        if not holds:
            raise _damaged("A member of the scoring plan's header is malformed", "plan-header", member)


def _is_interval(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(name), (int, float)) for name in ("level", "below", "above")
    )


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
