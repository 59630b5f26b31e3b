"""Linear candidates fitted to every row of a table too large for one function, in rounds over its shards.

Search and selection work on a part that is drawn from a very large table. What they learn of its features
stays; the weights of a linear candidate are then fitted to all rows that are not held out, exactly. A shard
is a range of record numbers, so shards are the same however the file was cut into chunks, and a round's sums
are the same whoever computes them (:mod:`millrace.training.newton`). A shard's sums are stored before they
count: what is there already is not computed again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millrace import keys
from millrace.compiler import compile
from millrace.contracts import (
    Layout,
    ObjectStore,
    Run,
    RunStore,
    Schema,
    decode,
    encode,
    is_there,
    read_schema,
)
from millrace.errors import NotFound
from millrace.features.blocks import read_blocks
from millrace.features.fingerprints import fingerprints
from millrace.features.limits import LIMITS
from millrace.features.search import SHARD_ROWS, shards
from millrace.plan import read
from millrace.scoring.blocks import BlockScorer
from millrace.training.newton import (
    MAX_PARAMETERS,
    Exact,
    Objective,
    Progress,
    advance,
    begin,
    partial_sums,
    weights_of,
)
from millrace.training.pipeline import Encoded, Learner, joined
from millrace.training.suspects import suspect
from millrace.training.tables import read_table
from millrace.training.train import cut

if TYPE_CHECKING:
    from millrace.features.blocks import Table

__all__ = ["add_round", "begin_rounds", "exact_weights", "rows_seen", "sum_shard"]

Floats = NDArray[np.float64]

SLICE_ROWS = 1 << 14
"""Rows whose features are computed at once; fixed, since the order of a sum decides its last bits."""
CHECKED_ROWS = 1_000
"""Rows on which the features of the plan are compared with scikit-learn's before anything is summed."""


def begin_rounds(
    run_id: str, names: tuple[str, ...], artifacts: ObjectStore, runs: RunStore
) -> dict[str, Any]:
    """Fit the features and first weights on the rows that were drawn, and store them for the shards.

    Parameters
    ----------
    run_id : str
        The run.
    names : tuple of str
        Linear candidates.
    artifacts, runs
        The artifact bucket and the run records.

    Returns
    -------
    dict
        ``round``, the numbers of the ``shards``, and ``done``: with too many weights there are no rounds.
    """
    run = runs.get(run_id)
    schema = read_schema(run_id, artifacts)
    table = read_table(run, schema, artifacts)
    schema = suspect(table, schema, keep=run.spec.keep, seed=run.spec.seed).schema
    rows = cut(table, schema, budget=run.spec.budget, seed=run.spec.seed)
    encoded = Encoded.of(rows.rows, schema, "linear", seed=run.spec.seed, watched=False)
    progress: dict[str, Progress] = {}
    objectives: dict[str, Objective] = {}
    for name in names:
        learner = Learner(name, schema, LIMITS[run.spec.budget], run.spec.seed)
        estimator = learner.fit(encoded, rows.rows.target, rounds=None).estimator
        classes = 0 if schema.task == "regression" else len(estimator.classes_)
        objective = Objective(encoded.matrix.shape[1], classes, _penalty(estimator))
        weighed = getattr(estimator, "class_weight", None) is not None
        if weighed or objective.parameters > MAX_PARAMETERS:
            return _done(run_id, artifacts, {"round": 0, "rows": 0, "shards": 0})
        objectives[name], progress[name] = objective, begin(objective, weights_of(estimator))
    data = compile(joined(encoded.features, estimator), schema=schema, model=run.dataset)
    known = getattr(estimator, "classes_", np.zeros(0, dtype=np.int32))
    artifacts.put(keys.exact(run_id, "features.plan"), data)
    artifacts.put(keys.exact(run_id, "schema.json"), json.dumps(encode(schema)).encode())
    _put(
        *(artifacts, keys.exact(run_id, "rows.npz")),
        {"held_out": np.sort(table.record[rows.sides.held_out]), "classes": known.astype(np.int32)},
    )
    _check_features(BlockScorer(read(data)), encoded.features, rows.rows.frame.iloc[:CHECKED_ROWS])
    _put_progress(artifacts, run_id, 0, objectives, progress)
    return {"round": 0, "shards": list(range(shards(run.rows_read or 0))), "done": False}


def _penalty(estimator: Any) -> float:
    return float(estimator.alpha if hasattr(estimator, "alpha") else 1.0 / estimator.C)


def _check_features(scorer: BlockScorer, features: Any, frame: Any) -> None:
    ours = scorer.encoded({name: frame[name].to_numpy() for name in frame})
    theirs = features.transform(frame)
    theirs = theirs.toarray() if hasattr(theirs, "toarray") else np.asarray(theirs)
    if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-9, atol=1e-9):
        raise RuntimeError("the plan's features are not those of the pipeline: weights would not fit them")


def sum_shard(run_id: str, number: int, shard: int, artifacts: ObjectStore, runs: RunStore) -> None:
    """Compute and store one shard's sums of a round; a shard whose sums are there is left alone.

    Parameters
    ----------
    run_id : str
        The run.
    number : int
        The round, from 0.
    shard : int
        The shard, from 0.
    artifacts, runs
        The artifact bucket and the run records.
    """
    key = keys.exact_sums(run_id, number, shard)
    if is_there(key, artifacts):
        return
    run = runs.get(run_id)
    schema = decode(Schema, json.loads(artifacts.get(keys.exact(run_id, "schema.json"))))
    objectives, progress = stored_progress(artifacts, run_id, number)
    scorer = BlockScorer(read(artifacts.get(keys.exact(run_id, "features.plan"))))
    about = stored(artifacts, keys.exact(run_id, "rows.npz"))
    table = rows_of_shard(run, schema, shard, about["held_out"], artifacts)
    codes = np.full(max(1, len(schema.classes)), -1)
    codes[about["classes"]] = np.arange(len(about["classes"]))
    target = table.target if schema.task == "regression" else codes[table.target].astype(np.float64)
    going = [name for name in objectives if not progress[name].done]
    sums: dict[str, Floats] = {}
    for start in range(0, len(table), SLICE_ROWS):
        piece = slice(start, start + SLICE_ROWS)
        matrix = scorer.encoded({name: column[piece] for name, column in table.columns.items()})
        for name in going:
            part = partial_sums(objectives[name], progress[name].weights, matrix, target[piece])
            sums[name] = sums[name] + part if name in sums else part
    if not number:
        _put(artifacts, keys.exact_seen(run_id, shard), {"seen": fingerprints(table, schema)})
    _put(artifacts, key, sums)


def rows_of_shard(
    run: Run, schema: Schema, shard: int, held_out: NDArray[np.int64], artifacts: ObjectStore
) -> Table:
    """Return the shard's rows that are not held out."""
    first, end = shard * SHARD_ROWS, (shard + 1) * SHARD_ROWS
    layout = decode(Layout, json.loads(artifacts.get(keys.layout(run.run_id))))
    starts = [chunk.first_record for chunk in layout.chunks]
    ends = [*starts[1:], run.rows_read or 0]
    blocks = [
        keys.block(run.run_id, chunk.number)
        for chunk, start, stop in zip(layout.chunks, starts, ends, strict=True)
        if start < end and stop > first
    ]

    def choose(record: NDArray[np.int64], target: NDArray[Any]) -> NDArray[np.bool_]:
        inside = (record >= first) & (record < end)
        chosen: NDArray[np.bool_] = inside & ~np.isin(record, held_out)
        return chosen

    return read_blocks(map(artifacts.get, blocks), schema, choose)


def add_round(run_id: str, number: int, artifacts: ObjectStore, runs: RunStore) -> dict[str, Any]:
    """Add up a round's sums in the order of the shards, and take each candidate's next step.

    Returns
    -------
    dict
        As :func:`begin_rounds`, for the next round.
    """
    run = runs.get(run_id)
    count = shards(run.rows_read or 0)
    objectives, progress = stored_progress(artifacts, run_id, number)

    totals: dict[str, Floats] = {}
    rows = 0
    for shard in range(count):
        # A shard may have no row that is trained on, and nothing of a candidate that is done.
        for name, sums in stored(artifacts, keys.exact_sums(run_id, number, shard)).items():
            totals[name] = totals[name] + sums if name in totals else sums
    for name, total in totals.items():
        rows = int(total[0])
        progress[name] = advance(objectives[name], progress[name], total)
    _put_progress(artifacts, run_id, number + 1, objectives, progress)
    done = all(one.done for one in progress.values())
    if done:
        return _done(run_id, artifacts, {"round": number + 1, "rows": rows, "shards": count})
    return {"round": number + 1, "shards": list(range(count)), "done": False}


def _done(run_id: str, artifacts: ObjectStore, end: Mapping[str, int]) -> dict[str, Any]:
    """Store that there are no further rounds, and say so."""
    artifacts.put(keys.exact(run_id, "done.json"), json.dumps(end).encode())
    return {"round": end["round"], "shards": [], "done": True}


def exact_weights(run_id: str, artifacts: ObjectStore) -> Exact | None:
    """Return where the rounds ended; nothing when they did not, and no weights when none were needed."""
    try:
        done = json.loads(artifacts.get(keys.exact(run_id, "done.json")))
    except NotFound:
        return None
    if not done["round"]:
        return Exact({}, rows=0, rounds=0, shards=0)
    progress = stored_progress(artifacts, run_id, done["round"])[1]
    weights = {name: one.weights for name, one in progress.items()}
    return Exact(weights, done["rows"], done["round"], done["shards"])


def rows_seen(run_id: str, exact: Exact, artifacts: ObjectStore) -> list[NDArray[np.uint64]]:
    """Return the fingerprints of all rows that the shards summed, a shard after the other."""
    return [stored(artifacts, keys.exact_seen(run_id, shard))["seen"] for shard in range(exact.shards)]


# --- what lies between the rounds ----------------------------------------------------------------


def _put_progress(
    artifacts: ObjectStore,
    run_id: str,
    number: int,
    objectives: Mapping[str, Objective],
    progress: Mapping[str, Progress],
) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    for name, objective in objectives.items():
        one = progress[name]
        arrays[f"{name}.objective"] = np.array([objective.columns, objective.classes, objective.penalty])
        arrays[f"{name}.places"] = np.stack([one.weights, one.base, one.direction])
        arrays[f"{name}.state"] = np.array([one.rounds, one.done, one.loss, one.gap])
    _put(artifacts, keys.exact(run_id, f"round-{number:03d}.npz"), arrays)


def stored_progress(
    artifacts: ObjectStore, run_id: str, number: int
) -> tuple[dict[str, Objective], dict[str, Progress]]:
    arrays = stored(artifacts, keys.exact(run_id, f"round-{number:03d}.npz"))
    objectives: dict[str, Objective] = {}
    progress: dict[str, Progress] = {}
    for name in [key.removesuffix(".objective") for key in arrays if key.endswith(".objective")]:
        columns, classes, penalty = arrays[f"{name}.objective"].tolist()
        objectives[name] = Objective(int(columns), int(classes), penalty)
        rounds, done, loss, gap = arrays[f"{name}.state"].tolist()
        weights, base, direction = arrays[f"{name}.places"]
        progress[name] = Progress(weights, base, direction, int(rounds), bool(done), loss, gap)
    return objectives, progress


def _put(artifacts: ObjectStore, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    artifacts.put(key, out.getvalue())


def stored(artifacts: ObjectStore, key: str) -> dict[str, NDArray[Any]]:
    with np.load(io.BytesIO(artifacts.get(key)), allow_pickle=False) as arrays:
        return dict(arrays)
