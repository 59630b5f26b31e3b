"""The C part of reading CSV, called through ctypes: ``layers/kernel.py`` builds it from ``source/``.

It lies beside this module. Where it is not, or is of another build or another machine, there is none:
:func:`library` returns None, and the rules in Python, which are the same and slower, do the work.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

__all__ = ["ABI", "library"]

ABI = 1
"""Of ``source/csv.h``: raised when a function or a structure changes."""
NAME = "kernel.so"


@functools.cache
def library() -> ctypes.CDLL | None:
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
    loaded.csv_hash.argtypes = (ctypes.c_char_p, ctypes.c_int64)
    loaded.csv_hash.restype = ctypes.c_uint64
