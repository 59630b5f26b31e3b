"""Compiles what becomes of times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace.compiler.common import Arrays, Step

__all__ = ["ENCODERS"]


def _time_parts(transformer: Any, arrays: Arrays) -> list[Step]:
    return [{"kind": "time-parts", "parts": list(transformer.parts)}]


ENCODERS: dict[str, Callable[[Any, Arrays], list[Step]]] = {
    "TimeParts": _time_parts,
}
