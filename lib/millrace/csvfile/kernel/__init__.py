"""The C part of reading CSV, called through ctypes: ``layers/kernel.py`` builds it from ``source/``.

It lies beside this module. Where it is not, or is of another build or another machine, there is none:
:func:`library` returns None, and the rules in Python, which are the same and slower, do the work.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

__all__ = [
    "ABI",
    "CODES",
    "FINISHED",
    "NO_MEMORY",
    "NUMBERS",
    "PROFILE",
    "SPANS",
    "TIMES",
    "ChunkCells",
    "Evidence",
    "Job",
    "Profile",
    "Texts",
    "library",
]

ABI = 6
"""Of ``source/csv.h``: raised when a function or a structure changes."""
NAME = "kernel.so"

NUMBERS, TIMES, CODES, SPANS, PROFILE = 1, 2, 3, 4, 5
FINISHED, NO_MEMORY = 0, 2

_pointer = ctypes.c_void_p
_int32, _int64, _double, _uint64 = ctypes.c_int32, ctypes.c_int64, ctypes.c_double, ctypes.c_uint64


class Entry(ctypes.Structure):
    """``struct entry``."""

    _fields_ = (("text", _pointer), ("hash", _uint64), ("count", _int64), ("size", _int64))


class Texts(ctypes.Structure):
    """``struct texts``."""

    _fields_ = (
        ("entries", ctypes.POINTER(Entry)),
        ("slots", _pointer),
        ("count", _int64),
        ("room", _int64),
        ("slot_mask", _int64),
    )


class List(ctypes.Structure):
    """``struct list``."""

    _fields_ = (("items", _pointer), ("count", _int64), ("room", _int64))


class Evidence(ctypes.Structure):
    """``struct evidence``."""

    _fields_ = (
        *(("count", _int64), ("too_large", _int64), ("minimum", _double), ("maximum", _double)),
        ("sums", _pointer),
    )


class Profile(ctypes.Structure):
    """``struct profile``."""

    _fields_ = (
        *((name, _int64) for name in ("missing", "count", "booleans", "integers", "codes", "multiword")),
        *((name, _int64) for name in ("tokens", "longest", "times", "example_size")),
        *((name, _int64) for name in ("sequential", "sequenced", "sequence")),
        *(("earliest", _double), ("latest", _double), ("example", _pointer)),
        *(("dotted", Evidence), ("undotted", Evidence)),
        *(("sketch", _pointer), ("sketched", _int64), ("threshold", _uint64)),
        *(("distinct", Texts), ("others", Texts)),
        *((name, _int64) for name in ("exact", "limit", "sketch_size", "longest_word")),
        ("fingerprint", _uint64),
    )


class Job(ctypes.Structure):
    """``struct job``."""

    _fields_ = (
        *(("column", _int32), ("kind", _int32), ("point", _int32), ("blanks", _int32)),
        *(("format", ctypes.c_char_p), ("values", _pointer), ("codes", _pointer)),
        *(("starts", _pointer), ("sizes", _pointer)),
        *(("texts", Texts), ("odd_rows", List), ("odd_texts", List)),
        ("profile", ctypes.POINTER(Profile)),
    )


class ChunkCells(ctypes.Structure):
    """``struct chunk``."""

    _fields_ = (
        ("data", _pointer),
        *((name, _int64) for name in ("size", "room", "longest", "width", "first_record")),
        *((name, _int32) for name in ("delimiter", "quote", "escape", "ascii")),
        ("rows", _int64),
        *(("offsets", _pointer), ("ends", _pointer), ("lines", _pointer), ("numbers", _pointer)),
        *(("irregular", List), ("records", _int64)),
    )


class Dialect(ctypes.Structure):
    """``csv_dialect``."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("delimiter", "quote", "escape", "skip_space", "blank_lines")),
        ("limit", ctypes.c_int64),
    )


class Way(ctypes.Structure):
    """``csv_way``."""

    _fields_ = tuple((name, ctypes.c_int64) for name in ("state", "records", "first", "last", "overlong"))


class Tally(ctypes.Structure):
    """``csv_tally``."""

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in ("valid", "invalid", "first_invalid", "high", "in_runs", "rare", "damage")
    )


@functools.cache
def library() -> Any:
    """Return the library, loaded once; None where there is none for this machine and version."""
    try:
        loaded = ctypes.CDLL(__file__.rpartition("/")[0] + "/" + NAME)
        if loaded.csv_abi() != ABI:
            return None
        _declare(loaded)
    except (OSError, AttributeError):
        return None
    return loaded


def _declare(loaded: Any) -> None:
    """Say what the functions take and return; AttributeError where one is not there."""
    chunk, jobs = ctypes.POINTER(ChunkCells), ctypes.POINTER(Job)
    loaded.csv_run.argtypes = (chunk, jobs, _int64)
    loaded.csv_run.restype = _int32
    loaded.csv_number.argtypes = (jobs, _pointer, _int64)
    loaded.csv_number.restype = _int32
    loaded.csv_line_ends.argtypes = (_pointer, _int64)
    loaded.csv_line_ends.restype = _int64
    loaded.csv_gather.argtypes = (_pointer, _pointer, _pointer, _int64, _pointer, _pointer)
    loaded.csv_gather.restype = None
    loaded.csv_done.argtypes = (chunk, jobs, _int64)
    loaded.csv_done.restype = None
    loaded.csv_hash.argtypes = (ctypes.c_char_p, _int64)
    loaded.csv_hash.restype = _uint64
    inside = (ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    loaded.csv_scan.argtypes = (*inside, ctypes.POINTER(Dialect), ctypes.POINTER(Way), ctypes.c_int32)
    loaded.csv_scan.restype = None
    loaded.csv_lines.argtypes = inside
    loaded.csv_lines.restype = ctypes.c_int64
    loaded.csv_weigh.argtypes = (*inside, ctypes.c_char_p, ctypes.POINTER(Tally))
    loaded.csv_weigh.restype = None
