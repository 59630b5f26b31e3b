"""The kernel's shared library, called through ctypes: ``layers/kernel.py`` builds it, a block loads it.

It lies beside this module. Where it is not, or is of another build or another machine, there is no kernel,
and whoever wants one is told why.
"""

from __future__ import annotations

import ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ABI", "Column", "Row", "Step", "StepFunction", "Unavailable", "address", "library", "start"]

ABI = 9
"""Of ``source/kernel.h``: raised with every new function, and when a structure or what one takes changes."""
NAME = "kernel.so"

_pointer = ctypes.c_void_p
_int32, _int64, _double = ctypes.c_int32, ctypes.c_int64, ctypes.c_double


class Unavailable(Exception):
    """There is no kernel for this machine; the text says why."""


class Column(ctypes.Structure):
    """``struct column``."""

    _fields_ = (
        ("kind", _int32),
        ("first", _int32),
        ("width", _int32),
        ("reserved", _int32),
        ("data", _pointer),
        ("starts", _pointer),
        ("index", _pointer),
        ("values", _pointer),
    )


class Step(ctypes.Structure):
    """``struct step``."""

    _fields_ = (
        ("run", _pointer),
        ("columns", _pointer),
        ("count", _int64),
        ("out", _pointer),
        ("stride", _int64),
        ("table", _pointer),
        ("p", _pointer),
        ("q", _pointer),
        ("i", _int64),
        ("j", _int64),
        ("a", _double),
        ("b", _double),
    )


class Row(ctypes.Structure):
    """``struct row``."""

    _fields_ = (
        ("steps", _pointer),
        ("count", _int64),
        ("out", _pointer),
        ("results", _pointer),
        ("stride", _int64),
        ("width", _int64),
    )


StepFunction = ctypes.CFUNCTYPE(None, _pointer, _int64, _int64)
"""A step in Python: ``(step, first_row, rows)``."""

_found: list[Any] = []


def library() -> Any:
    """Return the library, loaded once.

    Raises
    ------
    Unavailable
        The library is not there, does not load, or has another ABI number.
    """
    if not _found:
        _found.append(_load(__file__.rpartition("/")[0] + "/" + NAME))
    return _found[0]


def start(wide: bool = True) -> bool:
    """Choose between the loops for this processor and those for every one; return whether they are wide."""
    return bool(library().millrace_start(int(wide)))


def _load(path: str) -> Any:
    try:
        loaded = ctypes.CDLL(path)
        found = int(loaded.millrace_abi())
        if found == ABI:
            _declare(loaded)
            return loaded
    except (OSError, AttributeError) as error:
        raise Unavailable(f"{error}; `make setup` builds it in a checkout") from None
    raise Unavailable(f"{NAME} has ABI {found} instead of {ABI}; build it again")


def _declare(loaded: Any) -> None:
    """Say what the functions take; AttributeError where one is not there."""
    loaded.millrace_run.argtypes = (
        *(_pointer, _int64, _int64, _int64, _pointer),
        *(_pointer, _int64, _int64),
    )
    loaded.millrace_run.restype = None
    char = ctypes.c_char
    loaded.millrace_trees.argtypes = (
        *(_pointer, char, _pointer, char, _pointer, char, _int64, _pointer, _int32, _int32, _int32),
        *(_pointer, _pointer, _pointer, _int32, _int32),
    )
    loaded.millrace_trees.restype = _pointer
    loaded.millrace_trees_free.argtypes = (_pointer,)
    loaded.millrace_trees_free.restype = None
    loaded.millrace_trees_method.argtypes = (_pointer,)
    loaded.millrace_trees_scratch.argtypes = (_pointer,)
    loaded.millrace_trees_scratch.restype = _int64
    loaded.millrace_row.argtypes = (_pointer,)
    loaded.millrace_row.restype = None
    loaded.millrace_neighbors.argtypes = (
        *(_pointer, _pointer, char, _int64, _int32, _pointer, char, _pointer, char),
        *(_pointer, _pointer, _int32, _int32, _int32, _int32, _int32),
    )
    loaded.millrace_neighbors.restype = _pointer
    loaded.millrace_neighbors_free.argtypes = (_pointer,)
    loaded.millrace_neighbors_free.restype = None
    loaded.millrace_shapley.argtypes = (
        *(_pointer, _pointer, _pointer, _pointer, _pointer, _pointer, _pointer, _int64),
        *(_pointer, _int32, _int32, _pointer, _pointer, _pointer, _pointer),
    )
    loaded.millrace_shapley.restype = None
    text = ctypes.c_char_p
    loaded.millrace_spell.argtypes = (_pointer, _int64, _int64, text, text, _pointer, _pointer)
    loaded.millrace_spell.restype = _int64
    loaded.millrace_start(1)


def address(buffer: Any) -> tuple[int, Any]:
    """Return where a contiguous buffer lies, and what must be kept for as long as that is used."""
    if hasattr(buffer, "buffer_info"):  # an array.array
        return buffer.buffer_info()[0], buffer
    interface = getattr(buffer, "__array_interface__", None)
    if interface is not None:  # a numpy array, read-only ones too
        return interface["data"][0], buffer
    view = memoryview(buffer)
    if view.nbytes == 0:
        return 0, buffer
    if view.readonly:
        copy = ctypes.create_string_buffer(view.tobytes(), view.nbytes)
        return ctypes.addressof(copy), copy
    pinned = (ctypes.c_char * view.nbytes).from_buffer(view)
    return ctypes.addressof(pinned), pinned
