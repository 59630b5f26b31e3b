"""The use case of ``register``: from a run's artifacts to a version, judged by the gate."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millrace import __version__, keys, plan
from millrace.contracts import ObjectStore, Run, RunStore, encode
from millrace.errors import BadInput, NotFound
from millrace.registry.examine import Gate
from millrace.registry.registry import Registry
from millrace.registry.versions import Lineage, Updated, Version

__all__ = ["code_version", "register_run"]

DECIDING = ("contracts.py", "values.py", "csvfile", "profile", "features", "training", "compiler", "plan")
"""Modules and rooms of the package that decide what a file's model is."""


def register_run(
    run_id: str, artifacts: ObjectStore, runs: RunStore, *, predict_memory_mb: int
) -> dict[str, Any]:
    """Register what the run made, promote it or hold it, and note both on the run.

    Calling it again for the same run changes nothing.

    Parameters
    ----------
    run_id : str
        The run.
    artifacts, runs
        The artifact bucket and the run records.
    predict_memory_mb : int
        Memory of the function that answers.

    Returns
    -------
    dict
        ``model``, ``version``, ``promoted`` and ``reason``.

    Raises
    ------
    BadInput
        The plan differs from the pipeline that it was compiled from, or cannot be read.
    """
    run = runs.get(run_id)
    found, schema = artifacts.get(keys.evaluation(run_id)), artifacts.get(keys.schema(run_id))
    evaluation: Mapping[str, Any] = json.loads(found)
    parity = evaluation["parity"]
    if not parity["passed"]:
        raise BadInput(
            f"The plan is off by {parity['max_difference']:.3g} from the pipeline that it was compiled from, "
            f"over the limit of {parity['limit']:.3g}",
            code="parity-failed",
            where=f"run {run_id!r}",
            remedy="Nothing was registered. Report it as a defect, with the run's evaluation.json.",
        )
    data = artifacts.get(keys.run_plan(run_id))
    signature = plan.read(data).signature.fields
    report = _get(keys.run_report(run_id), artifacts)  # the page is for people; a model answers without it
    perhaps = {
        "report.json": _get(keys.run_report_json(run_id), artifacts),
        keys.TRAINED_ON: _get(keys.trained_on(run_id), artifacts),
    }
    if run.spec.on_new_file == "update":
        perhaps[keys.STATE] = _get(keys.state(run_id), artifacts)
    registry = Registry(artifacts)
    version = registry.register(
        Version(
            model=evaluation["model"],
            version=0,
            run_id=run_id,
            created_at="",
            task=evaluation["task"],
            target=evaluation["target"],
            target_format=evaluation.get("target_format", ""),
            metric=evaluation["metric"],
            plan_sha256="",
            plan_bytes=0,
            classes=tuple(evaluation["classes"]),
            signature=tuple(signature),
            chosen=evaluation["chosen"],
            rows=evaluation["rows"],
            metrics=_finite(evaluation["metrics"]),
            baseline=_finite(evaluation["baseline"]),
            parity=parity,
            libraries=evaluation["libraries"],
            seed=evaluation["seed"],
            lineage=_lineage(run, schema, _get(keys.run_parts(run_id), artifacts), evaluation.get("updated")),
        ),
        data,
        report,
        beside={"schema.json": schema, "evaluation.json": found}
        | {name: content for name, content in perhaps.items() if content is not None},
        since=run.created_at,
    )
    gate = Gate(version, run, data, artifacts, registry, predict_memory_mb)
    promoted, reason = registry.decide(version, by=f"run {run_id}", gate=gate)
    gate.keep()
    changes: dict[str, Any] = {
        "model": version.model,
        "version": version.version,
        "promoted": promoted,
        "metrics": version.metrics,
        "baseline": version.baseline,
    }
    if version.report:
        key = keys.version(version.model, version.version, "report.html")
        changes["report"] = f"s3://{artifacts.bucket}/{key}"
    if not promoted and reason not in run.warnings:
        changes["warnings"] = (*run.warnings, reason)
    runs.update(run_id, **changes)
    return {"model": version.model, "version": version.version, "promoted": promoted, "reason": reason}


def _get(key: str, artifacts: ObjectStore) -> bytes | None:
    try:
        return artifacts.get(key)
    except NotFound:
        return None


def _lineage(
    run: Run, schema: bytes, parts: bytes | None, updated: Mapping[str, int] | None = None
) -> Lineage:
    return Lineage(
        file=f"s3://{run.bucket}/{run.key}",
        file_version=run.version_id,
        file_etag=run.etag,
        file_bytes=run.size_bytes,
        spec=encode(run.spec),
        schema_sha256=hashlib.sha256(schema).hexdigest(),
        code=code_version(),
        parts=tuple(json.loads(parts)["parts"]) if parts else (),
        updated=None if updated is None else Updated(**updated),
    )


@functools.cache
def code_version() -> str:
    """Return the package's version and a digest of the modules that decide what a model is."""
    home = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for name in DECIDING:
        place = home / name
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            digest.update(path.relative_to(home).as_posix().encode() + b"\n" + path.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:16]}"


def _finite(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Leave out what is not defined, as a metric over a class that the hold-out lacks."""
    return {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)}
