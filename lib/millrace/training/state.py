"""What training stores to go on with: arrays and JSON under a checksum, and what they were made with.

It is no pickle, so reading it runs nothing; and the same content is the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray

__all__ = ["Kept", "libraries", "pack", "unpack"]

_DIGEST_BYTES = 32


@dataclass(frozen=True)
class Kept:
    """A fitted estimator, or how far one is: arrays, and JSON types."""

    arrays: Mapping[str, NDArray[Any]]
    about: Mapping[str, Any]


def libraries() -> dict[str, str]:
    """Return the versions of the libraries that must be the same for arrays of theirs to mean the same."""
    return {"scikit-learn": sklearn.__version__, "numpy": np.__version__}


def pack(head: bytes, about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays and what is said about them as one file.

    Parameters
    ----------
    head : bytes
        What the file begins with: its kind and the version of its format.
    about : mapping
        JSON types.
    arrays : mapping of str to ndarray
        Of any type but ``object``; none is called ``about``.
    """
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
    data = out.getvalue()
    return head + hashlib.sha256(data).digest() + data


def unpack(head: bytes, data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
    """Return what :func:`pack` packed; None for what is damaged, or of another kind."""
    start = len(head) + _DIGEST_BYTES
    packed = data[start:]
    if data[:start] != head + hashlib.sha256(packed).digest():
        return None
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as file:
            arrays: dict[str, NDArray[Any]] = dict(file)
        about: dict[str, Any] = json.loads(arrays.pop("about").tobytes())
    except (ValueError, KeyError, zipfile.BadZipFile):
        return None
    return about, arrays
