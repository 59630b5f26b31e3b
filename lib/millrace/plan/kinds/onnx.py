"""Models from elsewhere.

``onnx``
    ``model``: array, the whole ONNX file. ``inputs``: for each input of it ``name``, ``type`` (one of
    :data:`TYPES`), ``rank`` (1 or 2) and ``columns``, the values that it takes side by side; a missing text
    is the empty one. ``texts``: which of the values are texts. ``output``: the ``name`` of the one that is
    read, and what it is (``as``): ``"values"``, as many as ``outputs`` says; ``"second"``, the probability
    of the second class; ``"labels"``, each one of ``labels``, which stand in the order of the classes.
"""

from __future__ import annotations

from millrace.plan.kinds import MAX_WIDTH, array, fits, indices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS", "TYPES"]

TYPES = ("float", "double", "int64", "int32", "bool", "string")
"""What an input may hold, in ONNX's own words."""


def _onnx(spec: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> int:
    model = array(arrays, spec["model"], "B", -1, "onnx.model")
    texts = set(spec["texts"])
    fits(len(model) > 0 and len(spec["inputs"]) > 0, "onnx.model")
    for entry in spec["inputs"]:
        columns = entry["columns"]
        fits(isinstance(entry["name"], str) and entry["type"] in TYPES, "onnx.inputs")
        indices(columns, width, "onnx.inputs")
        fits(entry["rank"] == 2 or (entry["rank"] == 1 and len(columns) == 1), "onnx.inputs")
        of_texts = [column in texts for column in columns]
        fits(all(of_texts) if entry["type"] == "string" else not any(of_texts), "onnx.inputs")
    output = spec["output"]
    fits(isinstance(output["name"], str), "onnx.output")
    if output["as"] == "values":
        indices([output["outputs"]], MAX_WIDTH + 1, "onnx.output", 1)
        return int(output["outputs"])
    if output["as"] == "second":
        return 2
    labels = output["labels"]
    fits(output["as"] == "labels" and all(isinstance(label, (str, int)) for label in labels), "onnx.output")
    fits(len(set(labels)) == len(labels), "onnx.output")
    return len(labels)


KINDS = {"onnx": _onnx}
