"""Compiles a pipeline, compares plan and pipeline on every row, and certifies the outcome."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millrace import __version__, plan
from millrace.compiler.background import add_background, converted
from millrace.compiler.common import Arrays, not_covered
from millrace.compiler.estimators import compile_estimator
from millrace.contracts import Schema
from millrace.errors import BadInput
from millrace.scoring.blocks import BlockScorer
from millrace.scoring.kernel import KernelScorer, NotCovered, Unavailable
from millrace.scoring.rows import RowScorer

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LIMIT", "Parity", "answers", "certified", "compile", "parity"]

LIMIT = 1e-9
"""Largest difference that an artifact may have: ``|plan - pipeline| <= LIMIT * max(1, |pipeline|)``."""
MOST_ROWS = 20_000
"""Held-out rows, evenly spread, that a certificate is made on: scikit-learn answers them for minutes else."""
MOST_BY_ROW, FEWEST_BY_ROW = 1_000, 200
"""Rows, evenly spread, on which the path in plain Python is compared, of a small plan and of a large one."""
CELLS_BY_ROW = 16_000_000
"""Such rows times the numbers of a plan: forests and support vectors take up to 20 ms a row."""
FEWEST_BY_BLOCK = 2_000
"""Rows, evenly spread, on which the path in numpy is compared at least, where the kernel takes all."""
CELLS_BY_BLOCK = 160_000_000
"""As ``CELLS_BY_ROW``."""
MOST_ALONE = 100
"""Rows that differ, for which the pipeline is asked again, one by one: more are no accident of rounding."""


@dataclass(frozen=True)
class Parity:
    """How far a plan is from its pipeline in every scoring path.

    Attributes
    ----------
    rows : int
        Rows compared; a certificate's path ``rows`` takes at most ``MOST_BY_ROW`` of them, and of a large
        plan at least ``FEWEST_BY_ROW``; its path ``blocks`` at least ``FEWEST_BY_BLOCK`` where the kernel
        takes all.
    max_difference : float
        The largest ``|plan - pipeline| / max(1, |pipeline|)`` of any probability or prediction;
        infinite when one of the two is no number and the other is.
    limit : float
        What it may be.
    passed : bool
        Whether it is that.
    paths : mapping of str to float
        The largest difference of each path: ``rows``, ``blocks``, and ``kernel`` where this machine has one
        that knows the plan.
    alone : int
        Rows that the pipeline itself answers otherwise, by more than the limit, when it is asked for one of
        them alone: it adds up a block of rows in another order than a single one, and where the model jumps,
        as an isotonic calibration does, the last bit of a sum decides. Each path is compared with that one
        of the two answers which it is nearer to.
    """

    rows: int
    max_difference: float
    limit: float
    passed: bool
    paths: Mapping[str, float]
    alone: int = 0


def compile(
    pipeline: Any,
    *,
    schema: Schema,
    model: str,
    classes: Sequence[str] = (),
    interval: Mapping[str, float] | None = None,
    background: pd.DataFrame | None = None,
    extra_header: Mapping[str, Any] | None = None,
) -> bytes:
    """Compile a fitted pipeline to a scoring plan.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted on a data frame whose columns are columns of the schema.
    schema : Schema
        Types and categories for the signature.
    model : str
        Name of the model.
    classes : sequence of str
        Labels by class code; the schema's when empty. Not read when the pipeline learned the labels
        themselves, nor for regression.
    interval : mapping, optional
        ``level``, ``below`` and ``above`` of a regression's prediction interval.
    background : DataFrame, optional
        Training rows, whose means and whose typical row explanations count from.
    extra_header : mapping, optional
        JSON values that the plan carries under ``about``.

    Raises
    ------
    BadInput
        ``estimator-not-covered``: the pipeline holds something that plans cannot express, named in the
        message.
    """
    header, arrays = _document(pipeline, schema, model, classes, interval, background, extra_header)
    return plan.write(header, arrays)


def parity(
    pipeline: Any,
    plan_bytes: bytes,
    frame: pd.DataFrame,
    *,
    limit: float = LIMIT,
    by_row: int | None = None,
    by_block: int | None = None,
) -> Parity:
    """Compare a plan with its pipeline on a frame's rows, in every scoring path.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted.
    plan_bytes : bytes
        The compiled plan.
    frame : DataFrame
        Rows as the pipeline takes them, best ones that it was not fitted on.
    limit : float
        What the difference may be.
    by_row, by_block : int, optional
        Most rows, evenly spread, on which the path in plain Python is compared, and that in numpy where this
        machine's kernel knows the plan; by default all.
    """
    compiled = plan.read(plan_bytes)
    row_step, block_step = _step(frame, by_row), _step(frame, by_block)

    def asked(rows: pd.DataFrame) -> NDArray[np.float64]:
        found = pipeline.predict(rows) if compiled.task == "regression" else pipeline.predict_proba(rows)
        return np.array(found, dtype=np.float64)

    expected = asked(frame)
    found = answers(compiled, frame, row_step, block_step)
    every = {"rows": row_step, "blocks": block_step if "kernel" in found else 1, "kernel": 1}
    over = np.zeros(len(frame), dtype=np.bool_)
    for path, answer in found.items():
        over[:: every[path]] |= _differences(answer, expected[:: every[path]]) > limit
    alone, single = 0, expected.copy()
    for row in np.flatnonzero(over).tolist() if over.sum() <= MOST_ALONE else ():
        single[row] = asked(frame.iloc[[row]])[0]
        alone += bool(_differences(single[[row]], expected[[row]])[0] > limit)
    paths = {}
    for path, answer in found.items():
        differences = (_differences(answer, one[:: every[path]]) for one in (expected, single))
        paths[path] = float(np.minimum(*differences).max(initial=0.0))
    worst = max(paths.values())
    return Parity(len(frame), worst, limit, worst <= limit, paths, alone)


def _step(frame: pd.DataFrame, most: int | None) -> int:
    """Return every which row is taken, so that at most so many are."""
    return 1 if most is None else max(1, -(-len(frame) // most))


def answers(
    compiled: plan.Plan, frame: pd.DataFrame, row_step: int = 1, block_step: int = 1
) -> dict[str, NDArray[np.float64]]:
    """Return what each scoring path makes of the frame's rows.

    Parameters
    ----------
    compiled : Plan
        As ``plan.read`` returns it.
    frame : DataFrame
        Rows as the pipeline takes them.
    row_step, block_step : int
        The path ``rows`` takes every so many of them, and the path ``blocks`` if there is a ``kernel``.

    Returns
    -------
    dict of str to ndarray
        By path, as :class:`Parity` names them: predictions, shape (n,), or probabilities, shape (n, classes).
    """
    columns = {
        field["name"]: converted(frame[field["name"]].to_numpy(), field["type"])
        for field in compiled.signature.fields
    }
    kernel: NDArray[np.float64] | None = None
    try:
        kernel = np.frombuffer(KernelScorer(compiled).score(columns))
    except (NotCovered, Unavailable):
        block_step = 1
    scorer = RowScorer(compiled)
    some = zip(*[column[::row_step].tolist() for column in columns.values()], strict=True)
    scored = [scorer.score(row) for row in some]
    by_row = [prediction if shares is None else shares for prediction, shares in scored]
    by_block = BlockScorer(compiled).score({name: column[::block_step] for name, column in columns.items()})
    shape = by_block.shape[1:]
    found = {"rows": np.asarray(by_row, dtype=np.float64).reshape(-1, *shape), "blocks": by_block}
    return found if kernel is None else {**found, "kernel": kernel.reshape(len(frame), *shape)}


def certified(
    pipeline: Any,
    *,
    schema: Schema,
    model: str,
    frame: pd.DataFrame,
    classes: Sequence[str] = (),
    interval: Mapping[str, float] | None = None,
    background: pd.DataFrame | None = None,
    extra_header: Mapping[str, Any] | None = None,
    limit: float = LIMIT,
) -> tuple[bytes, Parity]:
    """Compile, compare on held-out rows, and write the outcome into the plan as its certificate.

    Parameters
    ----------
    pipeline, schema, model, classes, interval, background, extra_header
        As in :func:`compile`.
    frame : DataFrame
        Held-out rows as the pipeline takes them; of more than ``MOST_ROWS`` a part is compared.
    limit : float
        What the difference may be.

    Returns
    -------
    plan_bytes : bytes
        The plan with its certificate.
    parity : Parity
        The same certificate.

    Raises
    ------
    BadInput
        ``estimator-not-covered``; ``parity-failed`` when the difference is over the limit.
    """
    header, arrays = _document(pipeline, schema, model, classes, interval, background, extra_header)
    packed = plan.pack(arrays)
    size = max(1, sum(array.size for array in arrays))
    outcome = parity(
        *(pipeline, plan.write(header, packed), frame.iloc[:: _step(frame, MOST_ROWS)]),
        limit=limit,
        by_row=min(MOST_BY_ROW, max(FEWEST_BY_ROW, CELLS_BY_ROW // size)),
        by_block=max(FEWEST_BY_BLOCK, CELLS_BY_BLOCK // size),
    )
    if not outcome.passed:
        raise BadInput(
            f"The scoring plan differs from the pipeline by {outcome.max_difference:.3g}, "
            f"and at most {limit:.3g} is allowed",
            code="parity-failed",
            where=f"{outcome.rows:,} held-out rows",
            remedy="Train another candidate, and report this pipeline: the two should agree.",
        )
    return plan.write({**header, "certificate": asdict(outcome)}, packed), outcome


def _document(
    pipeline: Any,
    schema: Schema,
    model: str,
    classes: Sequence[str],
    interval: Mapping[str, float] | None,
    background: pd.DataFrame | None,
    extra_header: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    import pandas
    import scipy
    import sklearn

    arrays = Arrays()
    names = [str(name) for name in getattr(pipeline, "feature_names_in_", ())]
    if not names:
        raise not_covered("A pipeline fitted without column names")
    node = compile_estimator(pipeline, arrays)
    # Steps before estimators inside of this one are a matter of the features, and evaluated with them.
    before = node.pop("steps", [])
    inside = next((i for i, step in enumerate(before) if step["kind"] == "predictions"), len(before))
    if before[inside:]:
        node["steps"] = before[inside:]
    header = {
        "model": model,
        "task": schema.task,
        "classes": _labels(pipeline, classes or schema.classes),
        "signature": [schema.column(name).field for name in names],
        "ignored": [column.name for column in schema.columns if column.name not in names],
        "features": before[:inside],
        "estimator": node,
        "interval": None if interval is None else dict(interval),
        "certificate": None,
        "libraries": {
            "python": platform.python_version(),
            "millrace": __version__,
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "pandas": pandas.__version__,
        },
        "about": dict(extra_header or {}),
    }
    if background is not None:
        add_background(header, arrays, background)
    return header, arrays.items


def _labels(estimator: Any, classes: Sequence[str]) -> list[str]:
    if not hasattr(estimator, "classes_"):
        return []
    return [c if isinstance(c, str) else classes[int(c)] for c in estimator.classes_.tolist()]


def _differences(found: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest difference of each row."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - expected) / np.maximum(1.0, np.abs(expected))
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    difference[same] = 0.0
    difference[np.isnan(difference)] = np.inf
    return difference if difference.ndim == 1 else difference.max(axis=1)
