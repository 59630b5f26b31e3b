"""A model from elsewhere, for one row."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]


class Onnx:
    """A session of onnxruntime, and what a block of one row says."""

    __slots__ = ("_session",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        from millrace.scoring.onnx import Session

        self._session = Session(spec, arrays)

    def __call__(self, row: list[float]) -> list[float]:
        result: list[float] = self._session.run_row(row)
        return result


KINDS = {"onnx": Onnx}
