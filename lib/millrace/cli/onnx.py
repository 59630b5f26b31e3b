"""ONNX models, out and in: `millrace export` and `millrace register`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace import keys, plan
from millrace.cli.console import Console
from millrace.cli.rows import read_rows
from millrace.compiler import onnx as exchange
from millrace.contracts import ObjectStore, read_schema
from millrace.errors import BadInput, NotFound, Unprocessable
from millrace.features.blocks import read_blocks
from millrace.registry.registry import Registry
from millrace.registry.versions import Version
from millrace.runs.ingest import DATASET

__all__ = ["CHECKED_ROWS", "export", "register"]

CHECKED_ROWS = 2_000
"""Most rows of a file that an exported model is compared on."""

Columns = dict[str, NDArray[Any]]


def export(
    store: ObjectStore, console: Console, model: str, number: int | None, output: Path, rows: Path | None
) -> int:
    """Write a version as an ONNX model with its certificate; return the exit code.

    Parameters
    ----------
    store : ObjectStore
        The artifact bucket.
    console : Console
        Where words go.
    model : str
        Name of the model.
    number : int, optional
        The version; the live one when left out.
    output : Path
        The ONNX file; the certificate is written beside it, as ``<name>.certificate.json``.
    rows : Path, optional
        A CSV file to compare on; held-out rows of the version's run when left out.

    Raises
    ------
    BadInput
        ``onnx-differs``: the model is not what the plan is; nothing is written.
    """
    registry = Registry(store)
    version = registry.version(model, _live(registry, model) if number is None else number)
    data = store.get(keys.version(model, version.version, "model.plan"))
    read = plan.read(data)
    features = read.header["features"]
    columns = _held_out(store, version, read.signature.fields) if rows is None else _columns(read, rows)
    made = exchange.export(data)
    difference = exchange.check(data, made, columns)
    certificate = {
        "model": model,
        "version": version.version,
        "plan_sha256": hashlib.sha256(data).hexdigest(),
        "starts_at": exchange.starts_at(features),
        "not_expressed": exchange.not_expressed_in(features),
        "opsets": {domain or "ai.onnx": number for domain, number in exchange.OPSETS.items()},
        "compared_on": f"held-out rows of run {version.run_id}" if rows is None else f"rows of {rows.name}",
        **asdict(difference),
        "onnxruntime": exchange.runtime_version(),
        "plan_certificate": read.header.get("certificate"),
    }
    if not difference.passed:
        tied = exchange.tied_in(read.header["estimator"])
        raise BadInput(
            f"The ONNX model differs from the plan by {difference.max_difference:.3g}, "
            f"where {difference.limit:.3g} is allowed, "
            f"and {difference.label_flips} of {difference.rows:,} rows have another label",
            code="onnx-differs",
            where=str(certificate["compared_on"]),
            remedy=f"Nothing was written: {tied}, and no standard operator does that."
            if tied
            else "Nothing was written. Report it: the two should agree.",
        )
    text = json.dumps(certificate, ensure_ascii=False, allow_nan=False, sort_keys=True)
    about = {"millrace.version": str(version.version), "millrace.certificate": text}
    made = exchange.export(data, metadata=about)
    output.write_bytes(made)
    certificate["onnx_sha256"] = hashlib.sha256(made).hexdigest()
    beside = output.with_name(f"{output.name.removesuffix('.onnx')}.certificate.json")
    beside.write_text(json.dumps(certificate, ensure_ascii=False, indent=1) + "\n", "utf-8")
    starts = "" if certificate["starts_at"] == "fields" else "; it starts at the encoded features"
    console.answer(
        {"output": str(output), "certificate": str(beside), **certificate},
        f"{output}: version {version.version} of {model}{starts}\n"
        f"{beside}: off by at most {difference.max_difference:.3g} on {difference.rows:,} "
        f"{certificate['compared_on']}, no label differs",
    )
    return 0


def register(
    store: ObjectStore, console: Console, model: str, file: Path, signature: Path, *, promote: bool
) -> int:
    """Register a model from elsewhere as the next version of ``model``; return the exit code.

    Parameters
    ----------
    store : ObjectStore
        The artifact bucket.
    console : Console
        Where words go.
    model : str
        Name of the model.
    file, signature : Path
        The ONNX model, and the JSON that says what it takes and gives.
    promote : bool
        Let it answer at once.

    Raises
    ------
    BadInput
        ``model-name``; or what :func:`millrace.compiler.onnx.wrap` refuses.
    """
    if not DATASET.fullmatch(model):
        raise BadInput(
            f"{model!r:.80} cannot be a model's name",
            code="model-name",
            remedy="Use up to 63 letters, digits, dots, underscores and hyphens, first a letter or a digit.",
        )
    said = _json(signature)
    content = file.read_bytes()
    data = exchange.wrap(content, said, model=model)
    read = plan.read(data)
    registry = Registry(store)
    version = registry.register(
        Version(
            model=model,
            version=0,
            # The same file with the same signature is the same version, however often it is registered.
            run_id=f"onnx-{hashlib.sha256(data).hexdigest()[:24]}",
            created_at="",
            task=said["task"],
            target=said.get("target", ""),
            metric="",
            plan_sha256="",
            plan_bytes=0,
            classes=read.classes,
            signature=tuple(read.signature.fields),
            chosen="onnx",
            libraries=read.header["libraries"],
        ),
        data,
    )
    if promote:
        registry.promote(
            model, version.version, by="millrace register", why="It was registered with --promote."
        )
    found = {"model": model, "version": version.version, "live": promote, "plan_bytes": len(data)}
    console.answer(found, f"{model}: version {version.version}{' is live' if promote else ' is registered'}")
    return 0


def _live(registry: Registry, model: str) -> int:
    alias = registry.live(model)
    if alias is None:
        raise NotFound(
            f"There is no model {model!r:.80}, or no version of it is live",
            code="model-unknown",
            remedy="`millrace models` lists the models; --version names a version that is not live.",
        )
    return alias.version


def _held_out(store: ObjectStore, version: Version, fields: Sequence[Mapping[str, Any]]) -> Columns:
    try:
        schema = read_schema(version.run_id, store)
        schema = schema.of_plan(fields)
        block = store.get(keys.held_out(version.run_id))
    except NotFound:
        raise BadInput(
            f"Version {version.version} has no held-out rows to compare on any more",
            code="held-out-absent",
            remedy="Name a CSV file with rows of the same columns: --rows FILE.",
        ) from None
    return read_blocks([block], schema).columns


def _columns(read: plan.Plan, file: Path) -> Columns:
    """Return the file's rows, converted as `predict` converts them."""
    fields = read.signature.fields
    names, records = read_rows(file, [field["name"] for field in fields])
    rows = []
    for line, cells in records:
        try:
            row = {name: cell or None for name, cell in zip(names, cells, strict=True)}
            rows.append(read.signature.convert_row(row)[0])
        except Unprocessable as error:
            where = f"{file.name}, line {line}, {error.where}"
            raise Unprocessable(error.what, code=error.code, where=where, remedy=error.remedy) from None
        if len(rows) == CHECKED_ROWS:
            break
    columns = {}
    for i, field in enumerate(fields):
        of_texts = field["type"] in ("category", "text")
        column = np.empty(len(rows), dtype=object if of_texts else np.float64)
        column[:] = [row[i] for row in rows]
        columns[field["name"]] = column
    return columns


def _json(path: Path) -> Mapping[str, Any]:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    try:
        said: Mapping[str, Any] = json.loads(path.read_text("utf-8"), parse_constant=refuse)
    except ValueError as error:
        raise BadInput(
            f"The signature is not JSON: {error}",
            code="onnx-signature",
            where=path.name,
            remedy="Correct it.",
        ) from None
    return said
