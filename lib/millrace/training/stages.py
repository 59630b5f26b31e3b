"""The use cases of ``train`` and ``select``: read what the run has, decide, write what was decided."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millrace import keys
from millrace.contracts import ObjectStore, Run, RunStore, Schema, Update, decode, encode, read_schema
from millrace.errors import MillraceError, NotFound
from millrace.features.candidates import candidate
from millrace.features.search import Unit, exact_candidates, first_round, second_round
from millrace.profile import Profile
from millrace.training.apart import members_apart
from millrace.training.describe import Description, describe
from millrace.training.rounds import exact_weights, rows_seen
from millrace.training.seen import trained_on
from millrace.training.select import Selection, choices, judge_update, select
from millrace.training.suspects import suspect
from millrace.training.tables import read_table
from millrace.training.train import FoldResult, cut, fit_whole, put_together, train_folds
from millrace.training.turns import ALONE, Fits, NotDone, Turn
from millrace.training.update import state_of, update

if TYPE_CHECKING:
    from millrace.features.blocks import Table

__all__ = ["select_model", "train"]

_log = logging.getLogger(__name__)


def train(
    run_id: str, unit: Unit, artifacts: ObjectStore, runs: RunStore, turn: Turn = ALONE
) -> dict[str, Any]:
    """Cross-validate candidates on folds, and store what was found and the out-of-fold predictions.

    A candidate that fails for good has its error among what is stored, beside the others. Of a member of the
    ensemble, which is fitted to all rows, what it learned is stored.

    Parameters
    ----------
    run_id : str
        The run.
    unit : Unit
        Candidates and folds, as ``collect`` named them.
    artifacts, runs
        The artifact bucket and the run records.
    turn : Turn
        Which invocation for this unit it is, and its time.

    Returns
    -------
    dict
        ``part``, ``done``, and by candidate its ``scores`` on the folds. Of a unit that is not done ``next``
        says whose turn it is to go on.

    Raises
    ------
    BadInput
        There is no such candidate, or see :func:`millrace.training.train.cut`.
    """
    if unit.update:
        return _update(run_id, unit, artifacts, runs, turn)
    run = runs.get(run_id)
    spec = run.spec
    schema = read_schema(run_id, artifacts)
    for name in unit.candidates:
        candidate(name)
    found: list[FoldResult] = []
    arrays: dict[str, NDArray[np.float64]] = {}
    fits = _fits(run_id, unit, artifacts, turn)
    try:
        table = read_table(run, schema, artifacts)
        schema = suspect(table, schema, keep=spec.keep, seed=spec.seed).schema
        rows = cut(table, schema, budget=spec.budget, seed=spec.seed)
        if unit.whole:
            fit_whole(
                *(rows, schema, unit.candidates[0], unit.rounds),
                budget=spec.budget,
                seed=spec.seed,
                fits=fits,
            )
            fits.store()
        for result, predictions in train_folds(
            *(rows, schema, unit.candidates, unit.folds),
            budget=spec.budget,
            seed=spec.seed,
            fits=fits,
        ):
            found.append(result)
            arrays[f"{result.name}.{result.fold}"] = predictions
    except NotDone:
        fits.store()
        return {"part": unit.part, "scores": _scores(unit, found), **turn.answer(done=False)}
    except Exception as error:
        if not (isinstance(error, MillraceError) and error.retry):
            if not unit.whole:  # select fits such a member itself, and sees what fails
                failure = f"{type(error).__name__}: {error}"[:500]
                failed = [FoldResult(name, unit.folds[0], error=failure) for name in unit.candidates]
                _put_json(artifacts, keys.trained(run_id, unit.part), encode(failed))
            runs.complete_part(run_id, "train", unit.part)
        raise
    if not unit.whole:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        artifacts.put(keys.trained_predictions(run_id, unit.part), buffer.getvalue())
        _put_json(artifacts, keys.trained(run_id, unit.part), encode(found))
    runs.complete_part(run_id, "train", unit.part)
    return {"part": unit.part, "scores": _scores(unit, found), **turn.answer(done=True)}


def _fits(run_id: str, unit: Unit, artifacts: ObjectStore, turn: Turn) -> Fits:
    """Return how far the fits of a unit are."""
    key = keys.turn(run_id, f"train-{unit.part:03d}")
    return Fits(turn, key, artifacts, {"run": run_id, **encode(unit)})


def _update(run_id: str, unit: Unit, artifacts: ObjectStore, runs: RunStore, turn: Turn) -> dict[str, Any]:
    """Let the live version learn the run's new rows, and store what came of it; or why it could not."""
    run = runs.get(run_id)
    spec = run.spec
    schema = read_schema(run_id, artifacts)
    try:
        asked = decode(Update, json.loads(artifacts.get(keys.update(run_id))))
        beside = {
            name: artifacts.get(keys.version(run.dataset, asked.version or 0, name))
            for name in (keys.STATE, "model.plan", "evaluation.json")
        }
        learned = update(
            *(read_table(run, schema, artifacts), schema, beside[keys.STATE], beside["model.plan"], asked),
            model=run.dataset,
            budget=spec.budget,
            seed=spec.seed,
            keep_columns=spec.keep,
            code=turn.code(),
        )
    except Exception as error:
        if isinstance(error, MillraceError) and error.retry:
            raise
        # Whatever it is, a search does without.
        if isinstance(error, MillraceError):
            why = "what it kept to go on with is gone" if isinstance(error, NotFound) else error.what
        else:
            why = f"{type(error).__name__}: {error}"[:500]
            _log.exception("The update was given up")
        _put_json(artifacts, keys.updated(run_id, "json"), {"refused": why})
        return {"part": unit.part, "scores": {}, **turn.answer(done=True)}
    artifacts.put(keys.updated(run_id, "plan"), learned.plan)
    artifacts.put(keys.updated(run_id, "npz"), learned.state)
    before = json.loads(beside["evaluation.json"])
    _put_json(artifacts, keys.updated(run_id, "json"), {"learned": learned.about, "before": before})
    runs.complete_part(run_id, "train", unit.part)
    return {"part": unit.part, "scores": {}, **turn.answer(done=True)}


def _scores(unit: Unit, found: Sequence[FoldResult]) -> dict[str, list[float | None]]:
    return {name: [result.score for result in found if result.name == name] for name in unit.candidates}


def select_model(
    run_id: str, artifacts: ObjectStore, runs: RunStore, turn: Turn = ALONE, trained: Sequence[Unit] = ()
) -> dict[str, Any]:
    """Describe the columns; choose, fit, compile and evaluate; store ``columns.json``, plan and evaluation.

    Parameters
    ----------
    run_id : str
        The run.
    artifacts, runs
        The artifact bucket and the run records.
    turn : Turn
        Which invocation for this run it is, and its time.
    trained : sequence of Unit
        What was trained last.

    Returns
    -------
    dict
        ``done``, ``chosen``, and the keys of ``plan`` and ``evaluation``. Where the models are not yet fitted
        ``next`` says whose turn it is to go on, and ``units`` what is to be trained before that.
    """
    run = runs.get(run_id)
    decided = read_schema(run_id, artifacts)
    spec = run.spec
    table = read_table(run, decided, artifacts)
    profile = decode(Profile, json.loads(artifacts.get(keys.profile(run_id))))
    suspicion = suspect(table, decided, keep=spec.keep, seed=spec.seed)
    schema = suspicion.schema
    description = describe(profile, suspicion, table, seed=spec.seed)
    _put_json(artifacts, keys.columns(run_id), encode(description))
    updated = _updated(run, artifacts)
    if updated is not None:
        compiled = artifacts.get(keys.updated(run_id, "plan"))
        selection = judge_update(
            *(table, schema, updated["learned"], compiled, updated["before"]),
            budget=spec.budget,
            seed=spec.seed,
        )
        artifacts.put(keys.state(run_id), artifacts.get(keys.updated(run_id, "npz")))
        made = _store(run, selection, description, table, schema, artifacts, runs)
        return made | turn.answer(done=True, units=[])
    # Units were dealt out before anything was suspected.
    names, parts, stopped, count = _trained(run, decided, artifacts)
    rows_cut = cut(table, schema, budget=spec.budget, seed=spec.seed)
    results, out_of_fold = put_together(rows_cut, schema, names, parts, stopped=stopped)
    possible = choices(schema, rows_cut, results, out_of_fold, spec.budget)
    members = [unit for unit in trained if unit.whole]
    apart = () if members else members_apart(possible[0].weights, results, first=count, limit_s=turn.limit_s)
    if apart:
        runs.start_pass(run_id, "train", total=count + len(apart))
        return turn.answer(done=False, units=encode(apart))
    going = [name for name in names if name not in stopped]
    linear = exact_candidates(schema, spec.budget, run.rows_kept or 0, going)
    exact = exact_weights(run_id, artifacts) if linear else None
    fits = Fits(turn, keys.turn(run_id, "select"), artifacts, {"run": run_id})
    for unit in members:
        fits.take_over(_fits(run_id, unit, artifacts, turn))
    try:
        selection = select(
            *(table, schema, rows_cut, results, possible),
            model=run.dataset,
            budget=spec.budget,
            seed=spec.seed,
            exact=exact,
            fits=fits,
            keep=spec.on_new_file == "update",
        )
    except NotDone:
        fits.store()
        return turn.answer(done=False, units=[])
    if selection.found is not None and exact is None:
        state = state_of(*(selection.found, rows_cut, schema), records=run.rows_read or 0, code=turn.code())
        artifacts.put(keys.state(run_id), state)
    told = tuple(_not_exact(linear)) if exact is None else ()
    others = () if exact is None else rows_seen(run_id, exact, artifacts)
    made = _store(run, selection, description, table, schema, artifacts, runs, told, others)
    return made | turn.answer(done=True, units=[])


def _updated(run: Run, artifacts: ObjectStore) -> dict[str, Any] | None:
    """Return what came of an update; None where there was none, or a search takes its place."""
    if run.spec.on_new_file != "update":
        return None
    try:
        found: dict[str, Any] = json.loads(artifacts.get(keys.updated(run.run_id, "json")))
    except NotFound:
        return None
    return None if "refused" in found else found


def _store(
    run: Run,
    selection: Selection,
    description: Description,
    table: Table,
    schema: Schema,
    artifacts: ObjectStore,
    runs: RunStore,
    told: Sequence[str] = (),
    others: Sequence[NDArray[np.uint64]] = (),
) -> dict[str, Any]:
    """Store plan and evaluation, and note on the run what people are to know."""
    run_id = run.run_id
    rows = {"read": run.rows_read, "kept": run.rows_kept, "rejected": run.rows_rejected}
    evaluation = {
        "run_id": run_id,
        "model": run.dataset,
        **selection.evaluation,
        "rows": {**rows, **selection.evaluation["rows"]},
        "notes": [*selection.evaluation["notes"], *told],
        "schema_change": _schema_change(run_id, artifacts),
    }
    plan_key, evaluation_key = keys.run_plan(run_id), keys.evaluation(run_id)
    artifacts.put(plan_key, selection.plan)
    artifacts.put(keys.held_out(run_id), selection.held_out)
    seen = trained_on(table, schema, selection.sides.training, others=others)
    artifacts.put(keys.trained_on(run_id), seen)
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


def _not_exact(linear: Sequence[str]) -> Iterator[str]:
    """Say whose weights were to be fitted to all rows, when the rounds over the shards did not end."""
    if linear:
        yield (
            f"The weights of {' and '.join(linear)} could not be fitted to all rows: they are those of the "
            "rows that were drawn. The log of the function train says why."
        )


def _schema_change(run_id: str, artifacts: ObjectStore) -> Any:
    """Return how the file differs from what the live version takes; nothing for a first one."""
    try:
        return json.loads(artifacts.get(keys.schema_change(run_id)))
    except NotFound:
        return []


Found = dict[tuple[str, int], tuple[FoldResult, NDArray[np.float64]]]


def _trained(
    run: Run, schema: Schema, artifacts: ObjectStore
) -> tuple[tuple[str, ...], Found, tuple[str, ...], int]:
    """Return the run's candidates, what was found of each and each fold, who was stopped, and how many units
    trained them."""
    budget, rows = run.spec.budget, run.rows_kept or 0
    first = first_round(schema, budget, rows)
    names = first.names
    try:
        on = tuple(json.loads(artifacts.get(keys.going_on(run.run_id))))
    except NotFound:  # there was one round
        on = names
    found: Found = {}
    units = (*first.units, *second_round(schema, budget, rows, on))
    for unit in units:
        try:
            results = json.loads(artifacts.get(keys.trained(run.run_id, unit.part)))
        except NotFound:  # it died
            continue
        for item in results:
            result = decode(FoldResult, item)
            found[result.name, result.fold] = result, np.empty(0)
        if all(item["error"] for item in results):
            continue
        data = io.BytesIO(artifacts.get(keys.trained_predictions(run.run_id, unit.part)))
        with np.load(data, allow_pickle=False) as arrays:
            for item in results:
                place = item["name"], item["fold"]
                found[place] = found[place][0], arrays[f"{place[0]}.{place[1]}"]
    return names, found, tuple(name for name in names if name not in on), len(units)


def _put_json(artifacts: ObjectStore, key: str, value: Any) -> None:
    data = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    artifacts.put(key, data, content_type="application/json")
