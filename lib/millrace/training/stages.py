"""The use cases of ``train`` and ``select``: read what the run has, decide, write what was decided."""

from __future__ import annotations

import functools
import io
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace import keys
from millrace.contracts import ObjectStore, Run, RunStore, Schema, decode, encode
from millrace.errors import BadInput, MillraceError, NotFound
from millrace.features.blocks import Table, read_blocks, read_target
from millrace.features.candidates import candidate_names
from millrace.profile import Profile
from millrace.training.describe import describe
from millrace.training.limits import LIMITS
from millrace.training.seen import trained_on
from millrace.training.select import select
from millrace.training.splits import hashed
from millrace.training.suspects import suspect
from millrace.training.train import CandidateResult, failed, train_candidate

__all__ = ["RARE_ROWS", "select_model", "train"]

RARE_ROWS = 1000
"""Of a class with no more rows than this, all are drawn, however large the table is."""


def train(run_id: str, candidate: str, artifacts: ObjectStore, runs: RunStore) -> dict[str, Any]:
    """Cross-validate one candidate and store its result and its out-of-fold predictions.

    A candidate that fails for good stores its error, counts as done, and raises.

    Parameters
    ----------
    run_id : str
        The run.
    candidate : str
        One of ``candidate_names(schema, budget)``; its index there is its part of the pass ``train``.
    artifacts, runs
        The artifact bucket and the run records.

    Returns
    -------
    dict
        ``candidate``, ``cv_score`` and the key of the ``result``.

    Raises
    ------
    BadInput
        The run has no such candidate, or see :func:`millrace.training.train.train_candidate`.
    """
    run = runs.get(run_id)
    spec = run.spec
    schema = _schema(run_id, artifacts)
    names = candidate_names(schema, spec.budget)
    if candidate not in names:
        raise BadInput(
            f"The run has no candidate {candidate!r}",
            code="candidate-unknown",
            remedy=f"Its candidates are {', '.join(names)}.",
        )
    key = keys.candidate(run_id, candidate)
    try:
        table = _table(run, schema, artifacts)
        schema = suspect(table, schema, keep=spec.keep, seed=spec.seed).schema
        result, predictions = train_candidate(table, schema, candidate, budget=spec.budget, seed=spec.seed)
    except Exception as error:
        if not (isinstance(error, MillraceError) and error.retry):
            _put_json(artifacts, key, encode(failed(candidate, error)))
            runs.complete_part(run_id, "train", names.index(candidate))
        raise
    buffer = io.BytesIO()
    np.save(buffer, predictions, allow_pickle=False)
    artifacts.put(keys.candidate_predictions(run_id, candidate), buffer.getvalue())
    _put_json(artifacts, key, encode(result))
    runs.complete_part(run_id, "train", names.index(candidate))
    return {"candidate": candidate, "cv_score": result.cv_score, "result": key}


def select_model(run_id: str, artifacts: ObjectStore, runs: RunStore) -> dict[str, Any]:
    """Describe the columns; choose, fit, compile and evaluate; store ``columns.json``, plan and evaluation.

    Parameters
    ----------
    run_id : str
        The run.
    artifacts, runs
        The artifact bucket and the run records.

    Returns
    -------
    dict
        ``chosen``, and the keys of ``plan`` and ``evaluation``.
    """
    run = runs.get(run_id)
    schema = _schema(run_id, artifacts)
    names = candidate_names(schema, run.spec.budget)
    results = [_result(run_id, name, artifacts) for name in names]
    table = _table(run, schema, artifacts)
    profile = decode(Profile, json.loads(artifacts.get(keys.profile(run_id))))
    suspicion = suspect(table, schema, keep=run.spec.keep, seed=run.spec.seed)
    schema = suspicion.schema
    description = describe(profile, suspicion, table, seed=run.spec.seed)
    _put_json(artifacts, keys.columns(run_id), encode(description))
    selection = select(
        table,
        schema,
        results,
        model=run.dataset,
        budget=run.spec.budget,
        seed=run.spec.seed,
        out_of_fold=functools.partial(_out_of_fold, run_id, artifacts),
    )
    rows = {"read": run.rows_read, "kept": run.rows_kept, "rejected": run.rows_rejected}
    evaluation = {
        "run_id": run_id,
        "model": run.dataset,
        **selection.evaluation,
        "rows": {**rows, **selection.evaluation["rows"]},
        "schema_change": _schema_change(run_id, artifacts),
    }
    plan_key, evaluation_key = keys.run_plan(run_id), keys.evaluation(run_id)
    artifacts.put(plan_key, selection.plan)
    artifacts.put(keys.held_out(run_id), selection.held_out)
    artifacts.put(keys.trained_on(run_id), trained_on(table, schema, seed=run.spec.seed))
    _put_json(artifacts, evaluation_key, evaluation)
    runs.update(
        run_id,
        rows_trained=evaluation["rows"]["trained"],
        metrics=evaluation["metrics"],
        baseline=evaluation["baseline"],
        profile=f"s3://{artifacts.bucket}/{keys.columns(run_id)}",
        warnings=tuple(dict.fromkeys([*run.warnings, *description.notes, *evaluation["notes"]])),
    )
    return {"chosen": evaluation["chosen"], "plan": plan_key, "evaluation": evaluation_key}


def _schema_change(run_id: str, artifacts: ObjectStore) -> Any:
    """Return how the file differs from what the live version takes; nothing for a first one."""
    try:
        return json.loads(artifacts.get(keys.schema_change(run_id)))
    except NotFound:
        return []


def _schema(run_id: str, artifacts: ObjectStore) -> Schema:
    return decode(Schema, json.loads(artifacts.get(keys.schema(run_id))))


def _table(run: Run, schema: Schema, artifacts: ObjectStore) -> Table:
    """Return the run's rows, or of very many a part; blocks are read one after the other and let go.

    Beyond twice the rows that a candidate is trained on, a part is drawn by the hash of the record number, so
    that the memory that training takes does not depend on the file's size. Classes are drawn in proportion,
    but rare ones whole.
    """
    block_keys = list(artifacts.list(keys.blocks(run.run_id)))
    most = 2 * LIMITS[run.spec.budget].rows
    if run.rows_kept is None or run.rows_kept <= most:
        table = read_blocks(map(artifacts.get, block_keys), schema)
        _check_rows(run, len(table))
        return table
    counts = np.zeros(max(1, len(schema.classes)), dtype=np.int64)
    for key in block_keys:
        codes = _class_codes(read_target(artifacts.get(key)), schema)
        counts += np.bincount(codes, minlength=len(counts))
    _check_rows(run, int(counts.sum()))
    shares = np.maximum(most / counts.sum(), RARE_ROWS / np.maximum(counts, 1))

    def choose(record: NDArray[np.int64], target: NDArray[Any]) -> NDArray[np.bool_]:
        drawn: NDArray[np.bool_] = (
            hashed(record, run.spec.seed) < shares[_class_codes(target, schema)] * 2.0**64
        )
        return drawn

    return read_blocks(map(artifacts.get, block_keys), schema, choose)


def _class_codes(target: NDArray[Any], schema: Schema) -> NDArray[np.intp]:
    if schema.task == "regression":
        return np.zeros(len(target), dtype=np.intp)
    return target.astype(np.intp)


def _check_rows(run: Run, found: int) -> None:
    if run.rows_kept is not None and found != run.rows_kept:
        raise RuntimeError(f"{run.rows_kept} rows were kept, and the training blocks hold {found}")


def _result(run_id: str, name: str, artifacts: ObjectStore) -> CandidateResult:
    try:
        data = artifacts.get(keys.candidate(run_id, name))
    except NotFound:
        return CandidateResult(
            name, "failed", error="It left no result: it ran out of time or memory, or could not start."
        )
    return decode(CandidateResult, json.loads(data))


def _out_of_fold(run_id: str, artifacts: ObjectStore, candidate: str) -> NDArray[np.float64]:
    data = io.BytesIO(artifacts.get(keys.candidate_predictions(run_id, candidate)))
    predictions: NDArray[np.float64] = np.load(data, allow_pickle=False)
    return predictions


def _put_json(artifacts: ObjectStore, key: str, value: Any) -> None:
    data = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    artifacts.put(key, data, content_type="application/json")
