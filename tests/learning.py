"""Small tables to learn from, and the way from a file's bytes to a table in memory."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.contracts import METRICS, Budget, Column, ColumnType, Schema, Spec, Task
from millrace.features.blocks import Table, convert_chunk, read_blocks, write_block
from millrace.training.train import CandidateResult, Cut, cut, put_together, train_folds
from tests.tables import CsvTable


def column(name: str, index: int, kind: ColumnType, values: NDArray[Any]) -> Column:
    """Return a feature column; a category column lists the categories of ``values``."""
    seen = sorted({value for value in values if value is not None}) if kind == "category" else []
    return Column(name, index, kind, "feature", categories=tuple(seen))


def make_table(
    columns: dict[str, tuple[ColumnType, NDArray[Any]]],
    target: NDArray[Any],
    *,
    task: Task,
    classes: tuple[str, ...] = (),
    metric: str | None = None,
    time_column: str | None = None,
) -> tuple[Table, Schema]:
    """Return a table and its schema; record numbers count from 0."""
    features = tuple(
        column(name, i, kind, values) for i, (name, (kind, values)) in enumerate(columns.items())
    )
    label = Column("label", len(features), "number" if task == "regression" else "category", "target")
    schema = Schema(
        columns=(*features, label),
        target="label",
        task=task,
        metric=metric or METRICS[task][0],
        classes=classes,
        positive_class=classes[1] if task == "binary" else None,
        time_column=time_column,
        rows=len(target),
    )
    kind = np.float64 if task == "regression" else np.int32
    table = Table(
        {name: values for name, (_, values) in columns.items()},
        target.astype(kind),
        np.arange(len(target), dtype=np.int64),
    )
    return table, schema


def mixed_table(
    rows: int = 300, *, task: Task = "binary", metric: str | None = None, seed: int = 0
) -> tuple[Table, Schema]:
    """Return a table with every type of column, missing values, and a target that can be learned."""
    rng = np.random.default_rng(seed)
    number = rng.normal(size=rows)
    half = rng.normal(size=rows)
    half[rng.random(rows) < 0.3] = np.nan
    flag = rng.integers(0, 2, rows).astype(np.float64)
    flag[rng.random(rows) < 0.1] = np.nan
    colour = np.array(["red", "green", "blue", None], dtype=object)[rng.integers(0, 4, rows)]
    time = rng.uniform(1.5e9, 1.6e9, rows)
    words = np.array(["fine good day", "bad rainy day", "", None, "plain"], dtype=object)
    text = words[rng.integers(0, 5, rows)]
    signal = 1.5 * number + (colour == "red") * 2.0 + (text == "bad rainy day") * 1.5
    signal = signal + rng.normal(scale=0.5, size=rows)
    classes: tuple[str, ...] = ()
    if task == "regression":
        target = signal
    else:
        classes = ("no", "yes") if task == "binary" else ("high", "low", "middle")
        target = np.digitize(signal, np.quantile(signal, np.arange(1, len(classes)) / len(classes)))
    columns: dict[str, tuple[ColumnType, NDArray[Any]]] = {
        "number": ("number", number),
        "half": ("number", half),
        "flag": ("boolean", flag),
        "colour": ("category", colour),
        "time": ("time", time),
        "text": ("text", text),
    }
    return make_table(columns, target, task=task, classes=classes, metric=metric)


def table_of(data: bytes, spec: Spec, *, target_bytes: int = 1 << 20) -> tuple[Table, Schema]:
    """Take a CSV file through the rooms, cut into chunks of about ``target_bytes``."""
    file = CsvTable.of(data, target_bytes=target_bytes)
    schema = file.schema(spec)
    blocks = []
    for chunk in file.layout.chunks:
        table = convert_chunk(file.chunk(chunk.number), schema, file.layout).table
        blocks.append(write_block(schema, table.columns, table.target, table.record))
    return read_blocks(blocks, schema), schema


def searched(
    table: Table, schema: Schema, *names: str, budget: Budget = "quick", seed: int = 0
) -> tuple[Cut, list[CandidateResult], dict[str, NDArray[np.float64]]]:
    """Cross-validate candidates: the rows with their folds, results, and out-of-fold predictions."""
    rows = cut(table, schema, budget=budget, seed=seed)
    folds = range(len(rows.folds))
    trained = train_folds(rows, schema, names, folds, budget=budget, seed=seed)
    found = {(result.name, result.fold): (result, predictions) for result, predictions in trained}
    return rows, *put_together(rows, schema, names, found)


def cross_validated(
    table: Table, schema: Schema, name: str, *, budget: Budget = "quick", seed: int = 0
) -> tuple[CandidateResult, NDArray[np.float64]]:
    """Cross-validate one candidate, which succeeds."""
    _, (result,), predictions = searched(table, schema, name, budget=budget, seed=seed)
    assert result.error is None, result.error
    return result, predictions[name]


def real_table(shared_data: Path, name: str) -> tuple[bytes, dict[str, Any]]:
    """Return the training file of a real table, inflated, and its entry in the manifest."""
    entries = json.loads((shared_data / "manifest.json").read_text("utf-8"))["datasets"]
    entry = next(entry for entry in entries if entry["name"] == name)
    path = shared_data / "ml" / name / entry["files"]["train"]
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data), entry
