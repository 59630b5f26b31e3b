"""A model from elsewhere, for a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millrace.scoring.blocks import Column, Floats
from millrace.scoring.onnx import Session

__all__ = ["KINDS"]


class Onnx:
    """A session of onnxruntime."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._session = Session(spec, arrays)

    def __call__(self, matrix: Column) -> Floats:
        return self._session.run(list(matrix.T))


KINDS = {"onnx": Onnx}
