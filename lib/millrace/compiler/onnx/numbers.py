"""Emits what is done to numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.compiler.onnx.graph import Column, Graph

__all__ = ["KINDS"]


def _impute(spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph) -> list[Column]:
    of_texts = spec["missing"] == "none"
    fill = [(i, value) for i, value in enumerate(spec["fill"]) if value is not None]
    # Texts are never NaN and numbers never None: those pass as they are.
    filled = [i for i, _ in fill if graph.is_text(columns[i]) == of_texts]
    result = {i: columns[i] for i, _ in fill}
    if filled:
        values = [spec["fill"][i] for i in filled]
        matrix = graph.matrix([columns[i] for i in filled])
        constant = graph.texts(values, (1, len(values))) if of_texts else graph.constant([values])
        replaced = graph.where(_is_missing(matrix, of_texts, graph), constant, matrix)
        result |= dict(zip(filled, graph.columns(replaced, len(filled), text=of_texts), strict=True))
    return list(result.values()) + _indicators(spec["indicators"], of_texts, columns, graph)


def _indicators(wanted: Sequence[int], of_texts: bool, columns: list[Column], graph: Graph) -> list[Column]:
    result = []
    for i in wanted:
        if graph.is_text(columns[i]) == of_texts:
            missing = _is_missing(graph.matrix([columns[i]]), of_texts, graph)
            result += graph.columns(graph.cast(missing), 1)
        else:
            result += graph.columns(graph.repeated([0.0]), 1)
    return result


def _is_missing(matrix: str, of_texts: bool, graph: Graph) -> str:
    return graph.add("Equal", matrix, graph.texts([""], (1, 1))) if of_texts else graph.add("IsNaN", matrix)


def _scale(spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph) -> list[Column]:
    matrix = graph.matrix(columns)
    for operator, member in (("Sub", "mean"), ("Div", "scale")):
        if spec[member] is not None:
            matrix = graph.add(operator, matrix, graph.constant([np.asarray(arrays[spec[member]])]))
    return graph.columns(matrix, len(columns))


def _affine(spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph) -> list[Column]:
    matrix = graph.matrix(columns)
    for operator, member in (("Mul", "factor"), ("Add", "offset")):
        matrix = graph.add(operator, matrix, graph.constant([np.asarray(arrays[spec[member]])]))
    return graph.columns(matrix, len(columns))


def _clip(spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph) -> list[Column]:
    matrix = graph.matrix(columns)
    # Comparisons with a missing number are false, so that it stays one.
    matrix = graph.where(graph.do("Less", matrix, float(spec["low"])), float(spec["low"]), matrix)
    matrix = graph.where(graph.do("Greater", matrix, float(spec["high"])), float(spec["high"]), matrix)
    return graph.columns(matrix, len(columns))


KINDS = {"impute": _impute, "scale": _scale, "affine": _affine, "clip": _clip}
