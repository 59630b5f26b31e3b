"""A scoring plan as a standard ONNX model, and the proof that the two agree.

The graph is emitted from the plan, never from the pipeline: one module a family, ``KINDS`` in each, as in the
rooms that evaluate plans. It holds standard operators alone (``ai.onnx`` and ``ai.onnx.ml``, in the versions
of :data:`OPSETS`) and computes in float64 throughout, because onnxruntime has each of them in float64.

Its inputs are the fields of the signature, each of shape (rows, 1): numbers, booleans (0 and 1) and times
(seconds since 1970) as float64 with NaN for a missing value, categories and texts as strings with the empty
one. Its outputs are ``label`` and ``probabilities``, in the order of the classes, or ``prediction``. What
:data:`ENCODED` names cannot be expressed: with such an encoder the graph begins behind all encoders, with the
one input ``encoded`` of shape (rows, width), which :func:`encode` computes. The model's metadata say which.

This room needs the packages of the extra ``onnx``, and imports them when a function is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.errors import Misconfigured

__all__ = [
    "ENCODED",
    "LIMIT",
    "MAX_FOREIGN_BYTES",
    "OPSETS",
    "REFUSED",
    "TIED",
    "Difference",
    "check",
    "encode",
    "export",
    "not_expressed_in",
    "runtime_version",
    "starts_at",
    "tied_in",
    "wrap",
]

OPSETS = {"": 21, "ai.onnx.ml": 5}
"""Versions of the operators: those of ONNX 1.16, which onnxruntime reads since 1.18."""
LIMIT = 1e-12
"""Largest ``|model - plan| / max(1, |plan|)``: only sums, exp and log may differ, in their last digits."""
ENCODED: dict[str, str] = {
    "words": "no standard operator cuts a text into words as a regular expression does",
    "hash": "there is no standard operator of a hash",
}
"""Kinds of encoders that standard operators cannot express, and why."""
REFUSED: dict[str, str] = {
    "onnx": "it came as an ONNX model and is one already",
}
"""Kinds of estimators that standard operators cannot express, and why: a plan of one has no ONNX model."""
TIED: dict[str, str] = {
    "neighbors": "which of several points that are equally far is asked follows from a walk through a tree",
}
"""Kinds of estimators that are exported though a tie may go another way, and why: :func:`check` tells."""


MAX_FOREIGN_BYTES = 100 << 20
"""The largest model from elsewhere: onnxruntime takes about three times its file's size in memory."""


@dataclass(frozen=True)
class Difference:
    """How far an exported model is from its plan.

    Attributes
    ----------
    rows : int
        Rows compared.
    max_difference : float
        The largest ``|model - plan| / max(1, |plan|)`` of any probability or prediction; infinite when one
        of the two is no number and the other is.
    label_flips : int
        Rows with another label.
    ties : int
        Rows with another label between two that the plan holds equally probable, to within the limit; they
        are no flips.
    limit : float
        What ``max_difference`` may be.
    passed : bool
        Whether it is that, and no label flips.
    """

    rows: int
    max_difference: float
    label_flips: int
    ties: int
    limit: float
    passed: bool


def export(plan_bytes: bytes, *, metadata: Mapping[str, str] | None = None) -> bytes:
    """Export a plan.

    Parameters
    ----------
    plan_bytes : bytes
        The scoring plan.
    metadata : mapping of str to str, optional
        Added to the model's ``metadata_props``.

    Returns
    -------
    bytes
        The ONNX model. The same plan gives the same bytes.

    Raises
    ------
    BadInput
        ``onnx-not-expressed``, naming what; ``onnx-too-large``: over the 2 GB that one file may have.
    Misconfigured
        ``onnx-missing``: the packages of the extra ``onnx`` are not installed.
    """
    _need("onnx")
    from millrace.compiler.onnx.model import build

    return build(plan_bytes, metadata or {})


def check(
    plan_bytes: bytes, onnx_bytes: bytes, columns: Mapping[str, NDArray[Any]], *, limit: float = LIMIT
) -> Difference:
    """Compare an exported model with its plan, with onnxruntime, on every row.

    Parameters
    ----------
    plan_bytes, onnx_bytes : bytes
        The scoring plan, and what :func:`export` made of it.
    columns : mapping of str to ndarray, shape (n,)
        Converted values by field name: float64, or objects of ``str`` and ``None``.
    limit : float
        What the difference may be.

    Raises
    ------
    Misconfigured
        ``onnx-missing``: the packages of the extra ``onnx`` are not installed.
    """
    _need("onnx")
    _need("onnxruntime")
    from millrace.compiler.onnx.compare import compare

    return compare(plan_bytes, onnx_bytes, columns, limit)


def wrap(onnx_bytes: bytes, signature: Mapping[str, Any], *, model: str) -> bytes:
    """Make a scoring plan of a model from elsewhere, and try it.

    Parameters
    ----------
    onnx_bytes : bytes
        The ONNX model, in one file and of standard operators.
    signature : mapping
        ``task``, ``classes``, ``fields``, ``output``, and optionally ``target``, ``inputs`` and
        ``encoders``, as the documentation of ONNX models describes them.
    model : str
        Name of the model.

    Returns
    -------
    bytes
        The plan, whose estimator is of the kind ``onnx``.

    Raises
    ------
    BadInput
        ``onnx-invalid``: the file is no model that is served; ``onnx-signature``: the signature does not
        fit it.
    TooLarge
        ``onnx-too-large``: over :data:`MAX_FOREIGN_BYTES`.
    Misconfigured
        ``onnx-missing``: the packages of the extra ``onnx`` are not installed; ``onnx-model-broken``:
        onnxruntime does not take the model.
    """
    _need("onnx")
    _need("onnxruntime")
    from millrace.compiler.onnx.foreign import wrapped

    return wrapped(onnx_bytes, signature, model)


def starts_at(features: Any) -> str:
    """Return ``"fields"``, or ``"encoded"`` when an encoder cannot be expressed.

    Parameters
    ----------
    features : list of dict
        The encoders of a plan's header.
    """
    return "encoded" if not_expressed_in(features) else "fields"


def not_expressed_in(features: Any) -> list[str]:
    """Return the kinds of encoders among the features that standard operators cannot express, sorted."""
    found: set[str] = set()
    for step in features:
        if step["kind"] in ENCODED:
            found.add(step["kind"])
        for branch in step.get("branches", ()):
            found.update(not_expressed_in(branch["steps"]))
    return sorted(found)


def tied_in(estimator: Any) -> str | None:
    """Return why a tie may go another way in an estimator of a plan's header, or in a member of it."""
    if isinstance(estimator, dict):
        return TIED.get(estimator.get("kind", "")) or tied_in(list(estimator.values()))
    return next(filter(None, map(tied_in, estimator)), None) if isinstance(estimator, list) else None


def runtime_version() -> str:
    """Return onnxruntime's version."""
    _need("onnxruntime")
    import onnxruntime

    return str(onnxruntime.__version__)


def encode(plan_bytes: bytes, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Return what a graph that starts at the encoded features takes as its input ``encoded``.

    Parameters
    ----------
    plan_bytes : bytes
        The scoring plan.
    columns : mapping of str to ndarray, shape (n,)
        Converted values by field name.

    Returns
    -------
    ndarray, float64, shape (n, width)
        The encoded features.
    """
    from millrace import plan
    from millrace.scoring import blocks

    read = plan.read(plan_bytes)
    block = [np.asarray(columns[field["name"]]) for field in read.signature.fields]
    rows = len(block[0]) if block else 0
    for step in blocks.steps(read.header["features"], read.arrays):
        block = step(block, rows)
    matrix = np.empty((rows, len(block)))
    for j, column in enumerate(block):
        matrix[:, j] = column
    return matrix


def _need(package: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise Misconfigured(
            f"The package {package} is not installed",
            code="onnx-missing",
            remedy='Install the extra: pip install "millrace[onnx]".',
        )
