"""What the convert pass made, added up; and which candidates to train, in one round or in two."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from millrace import keys
from millrace.contracts import ChunkOutcome, ObjectStore, Run, RunStore, decode, read_schema
from millrace.errors import BadInput, NotFound
from millrace.features.search import Unit, Work, exact_candidates, first_round, going_on, second_round
from millrace.runs.progress import read_layout, read_parts, rejects_uri, told, write_json
from millrace.runs.updating import instead, read_update

__all__ = ["Totals", "add_up", "collect", "narrow"]


@dataclass(frozen=True)
class Totals:
    """Every record is kept or rejected; a cleared cell is one that did not fit its column's type.

    Of the rejected, ``rows_unlabelled`` have no target: they cannot be learned from, but nothing is wrong
    with them, so they do not count against the limit.
    """

    rows_read: int
    rows_kept: int
    rows_rejected: int
    cells_cleared: int
    rows_unlabelled: int


def collect(run_id: str, *, artifacts: ObjectStore, runs: RunStore, max_reject_share: float) -> Work:
    """Note the rows on the run, begin the counted set of what is trained, and return the first round of it.

    Parameters
    ----------
    run_id : str
        The run.
    artifacts, runs
        The artifact bucket and the run records.
    max_reject_share : float
        Share of rejected records, 0 to 1, above which the run stops unless its spec says another; those
        without a target do not count.

    Raises
    ------
    BadInput
        Too many records are rejected, or all of them.
    RuntimeError
        The passes did not read the same records. That is a fault of ours, never of the file.
    """
    run = runs.get(run_id)
    schema = read_schema(run_id, artifacts)
    chunks = len(read_layout(run_id, artifacts).chunks)
    parts = read_parts(artifacts, [keys.part(run_id, "convert", chunk) for chunk in range(chunks)])
    totals = add_up([decode(ChunkOutcome, json.loads(data)) for data in parts])
    rejects = rejects_uri(run_id, artifacts, totals.rows_rejected)
    if run.rows_read is not None and totals.rows_read != run.rows_read:
        raise RuntimeError(f"{run.rows_read} records were profiled, and {totals.rows_read} converted")
    runs.update(
        run_id,
        rows_read=totals.rows_read,
        rows_kept=totals.rows_kept,
        rows_rejected=totals.rows_rejected,
        rejects=rejects,
        warnings=tuple(dict.fromkeys((*run.warnings, *told(schema), *_warnings(totals, rejects)))),
    )
    asked = run.spec.max_reject_share
    _check(totals, max_reject_share if asked is None else asked, rejects)
    update = read_update(run, artifacts)
    work = first_round(schema, run.spec.budget, totals.rows_kept)
    if update is not None and update.version is not None:
        work = Work((Unit(0, (), (), update=True),), more=True)
    runs.start_pass(run_id, "train", total=len(work.units))
    return work


def narrow(run_id: str, *, artifacts: ObjectStore, runs: RunStore, trained: Sequence[Unit] = ()) -> Work:
    """Decide which candidates go on after their first folds, and return what the second round trains.

    A candidate of which nothing is there, or that failed, does not go on. With none that does, ``select``
    says why. After an update there is nothing more to do; or, if it could not be made, the first round of a
    search.

    Parameters
    ----------
    run_id : str
        The run.
    artifacts, runs
        The artifact bucket and the run records.
    trained : sequence of Unit
        What was trained last.

    Returns
    -------
    Work
        Without units where the first round trained every fold.
    """
    run = runs.get(run_id)
    budget, rows = run.spec.budget, run.rows_kept or 0
    schema = read_schema(run_id, artifacts)
    work = first_round(schema, budget, rows)
    if any(unit.update for unit in trained):
        refused = _refused(run, artifacts)
        if refused is None:
            return Work(())
        if refused not in run.warnings:
            runs.update(run_id, warnings=(*run.warnings, refused))
        runs.start_pass(run_id, "train", total=len(work.units))
        return work
    if not work.more:
        return Work((), exact=work.exact)
    first = work.units
    names = work.names
    scores: dict[str, float | None] = {}
    metric = schema.metric
    for unit in first:
        try:
            found = json.loads(artifacts.get(keys.trained(run_id, unit.part)))
        except NotFound:
            continue
        for one in found:
            if not one["error"]:
                scores[one["name"]], metric = one["score"], one["metric"]
    on = going_on(names, scores, metric, budget)
    write_json(artifacts, keys.going_on(run_id), list(on))
    units = second_round(schema, budget, rows, on)
    runs.start_pass(run_id, "train", total=len(first) + len(units))
    return Work(units, exact=exact_candidates(schema, budget, rows, on))


def _refused(run: Run, artifacts: ObjectStore) -> str | None:
    """Return why the update could not be made, as a sentence; None if it was."""
    try:
        why = json.loads(artifacts.get(keys.updated(run.run_id, "json"))).get("refused")
    except NotFound:
        why = "it ran out of time or memory, or could not start"
    if why is None:
        return None
    update = read_update(run, artifacts)
    return instead(f"version {update.version if update else '?'} could not learn the new rows: {why}")


def add_up(outcomes: list[ChunkOutcome]) -> Totals:
    """Add up the chunks' outcomes.

    Raises
    ------
    RuntimeError
        A record was lost: neither kept nor rejected. That is a fault of ours, never of the file.
    """
    totals = Totals(
        rows_read=sum(outcome.rows_read for outcome in outcomes),
        rows_kept=sum(outcome.rows_kept for outcome in outcomes),
        rows_rejected=sum(outcome.rows_rejected for outcome in outcomes),
        cells_cleared=sum(outcome.cells_cleared for outcome in outcomes),
        rows_unlabelled=sum(outcome.rows_unlabelled for outcome in outcomes),
    )
    if totals.rows_read != totals.rows_kept + totals.rows_rejected:
        raise RuntimeError(
            f"{totals.rows_read} read, {totals.rows_kept} are kept and {totals.rows_rejected} rejected"
        )
    return totals


def _warnings(totals: Totals, rejects: str | None) -> tuple[str, ...]:
    if not rejects:
        return ()
    unlabelled = f" ({totals.rows_unlabelled} for want of a target)" if totals.rows_unlabelled else ""
    return (
        f"{totals.rows_rejected} of {totals.rows_read} records are rejected{unlabelled}; they lie, with line "
        f"numbers and reasons, below {rejects}.",
    )


def _check(totals: Totals, max_reject_share: float, rejects: str | None) -> None:
    faulty = totals.rows_rejected - totals.rows_unlabelled
    if faulty > max_reject_share * totals.rows_read or not totals.rows_kept:
        allowed = f", more than the share of {max_reject_share:g} that is let through"
        rejected = faulty if totals.rows_kept else totals.rows_rejected
        raise BadInput(
            f"{rejected} of {totals.rows_read} records are rejected{allowed if totals.rows_kept else ''}",
            code="too-many-rejects",
            where=rejects or "",
            remedy="Each reject there says its line and its reason; correct the file, or let more "
            "through: max_reject_share in spec.json, or the stack's parameter MaxRejectShare.",
        )
