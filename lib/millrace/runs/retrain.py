"""Rows that a stream brought become the next training file of their dataset, once enough of them wait.

What is trained on at once is a *generation*: the batches that it takes, in an object that is written only
if absent. From then on all else follows from that object, so whoever comes after a worker that died does the
same again, to the byte:

1. ``rows.jsonl``: the records of all generations so far, sorted by their ids, each identity once. So the
   dataset does not depend on the order in which records were delivered, nor on where generations were cut.
2. The file, ``datasets/<dataset>/collected/<number>.csv``, written only if absent: one object version, and by
   that one run, which begins like that of any upload.
3. The batches are taken off the list of those that wait, and ``done.json`` says so.

A generation begins when the run of the one before has ended; rows that arrive meanwhile are for the next.
"""

from __future__ import annotations

import contextlib
import heapq
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from millrace import csvfile, keys
from millrace.contracts import (
    TERMINAL_STATES,
    Layout,
    NewData,
    ObjectStore,
    Run,
    RunStore,
    Spec,
    decode,
    is_there,
)
from millrace.errors import BadInput, Conflict, MillraceError, NotFound
from millrace.runs.ingest import read_spec, run_id_of
from millrace.runs.plain import in_blocks, records_of, some_at_once, to_csv
from millrace.runs.progress import read_layout, read_parts, utc_now, write_json
from millrace.streams.ports import Batch, PendingRows

__all__ = ["Due", "Generation", "retrain", "retrain_all"]

MAX_NEW_BYTES = 256 << 20
"""Of the batches that one generation takes: they are sorted in memory. More are for the next one."""
MAX_BATCHES = 50_000
"""That one generation takes; its object lists them."""
UNOPENED = timedelta(minutes=15)
"""After this a generation's run that is not there is waited for no longer: its event was lost."""
_AT_ONCE = 16


@dataclass(frozen=True)
class Generation:
    """What one training on collected rows is made of; written once, at its beginning."""

    dataset: str
    number: int
    made_at: str
    """UTC, ISO 8601 with milliseconds."""
    on_new_data: NewData
    base_run: str
    """The run of the uploaded file whose columns, and with ``append`` whose rows, the file has."""
    columns: tuple[str, ...]
    """Of the file, in order."""
    batches: tuple[str, ...]
    """Keys of the batches that it takes."""
    rows: int
    """In those batches."""


@dataclass(frozen=True)
class _Done:
    key: str
    version_id: str
    run_id: str
    made_at: str


class Due(NamedTuple):
    """When collected rows start a run; 0 for never, unless they are asked for now."""

    rows: int
    minutes: int
    now: bool = False


def retrain_all(
    *,
    data: ObjectStore,
    artifacts: ObjectStore,
    runs: RunStore,
    ledger: PendingRows,
    due: Due,
    holder: str,
    remaining_s: Callable[[], float],
    failed: Callable[[str, MillraceError], None],
    now: datetime | None = None,
) -> dict[str, int]:
    """Begin a generation of every dataset whose rows are due, or finish one that was begun.

    Parameters
    ----------
    data, artifacts : ObjectStore
        The data bucket and the artifact bucket.
    runs, ledger
        Run records, and the batches that wait.
    due : Due
        For datasets whose ``spec.json`` does not say it.
    holder : str
        Who asks, for the leases.
    remaining_s : callable
        Seconds that are left of the function's time.
    failed : callable
        Told which dataset could not be retrained, and why; the others go on.
    now : datetime, optional
        The time.

    Returns
    -------
    dict of str to int
        The generation that was finished, by dataset.
    """
    made: dict[str, int] = {}
    for dataset in data.list_folders(keys.COLLECTED):
        lease = f"retrain/{dataset}"
        if not ledger.pending(dataset) or not ledger.lease(lease, holder, remaining_s()):
            continue
        try:
            generation = retrain(
                dataset, data=data, artifacts=artifacts, runs=runs, ledger=ledger, due=due, now=now
            )
        except MillraceError as error:
            failed(dataset, error)
        else:
            if generation is not None:
                made[dataset] = generation.number
        finally:
            ledger.release(lease, holder)
    return made


def retrain(
    dataset: str,
    *,
    data: ObjectStore,
    artifacts: ObjectStore,
    runs: RunStore,
    ledger: PendingRows,
    due: Due,
    now: datetime | None = None,
) -> Generation | None:
    """Begin the dataset's next generation if its rows are due, or finish one that was begun.

    One that was begun and of whose batches none waits any more has its file: what is left of it is done with
    the next.

    Returns
    -------
    Generation or None
        The one that was finished now.

    Raises
    ------
    BadInput
        The spec cannot be used, or there is no uploaded file that rows could be added to.
    """
    now = now or datetime.now(UTC)
    found = ledger.pending(dataset)
    if not found:
        return None
    written = list(data.list(keys.generations(dataset)))
    number = max((_number(dataset, key) for key in written), default=0)
    before: Generation | None = None
    if number:
        before = decode(Generation, json.loads(data.get(keys.generation(dataset, number, _GENERATION))))
        if keys.generation(dataset, number, _DONE) not in written:
            return _finish(before, written, data, artifacts, ledger)
    taken = set(before.batches) if before else set()  # the list may lag
    waiting = [batch for batch in found if batch.key not in taken]
    if not waiting or (number and _under_way(dataset, number, data, runs, now)):
        return None
    spec = read_spec(dataset, data)
    if not _is_due(waiting, spec, due, now):
        return None
    base = _base(dataset, runs)
    columns = (
        before.columns
        if before is not None and before.base_run == base.run_id
        else _layout(base, artifacts).names
    )
    batches = _first(waiting)
    generation = Generation(
        dataset=dataset,
        number=number + 1,
        made_at=utc_now(),
        on_new_data=spec.on_new_data,
        base_run=base.run_id,
        columns=columns,
        batches=tuple(batch.key for batch in batches),
        rows=sum(batch.rows for batch in batches),
    )
    key = keys.generation(dataset, generation.number, _GENERATION)
    if not write_json(data, key, generation, only_if_absent=True):
        return None  # somebody else began it, and goes on with it
    return _finish(generation, written, data, artifacts, ledger)


_GENERATION, _ROWS, _DONE = "generation.json", "rows.jsonl", "done.json"


def _number(dataset: str, key: str) -> int:
    return int(key.removeprefix(keys.generations(dataset)).partition("/")[0])


def _under_way(dataset: str, number: int, data: ObjectStore, runs: RunStore, now: datetime) -> bool:
    """Tell whether the generation's run has not ended."""
    done = decode(_Done, json.loads(data.get(keys.generation(dataset, number, _DONE))))
    try:
        return runs.get(done.run_id).state not in TERMINAL_STATES
    except NotFound:
        return now - datetime.fromisoformat(done.made_at) < UNOPENED


def _is_due(waiting: Sequence[Batch], spec: Spec, due: Due, now: datetime) -> bool:
    if due.now and spec.retrain_on_schedule:
        return True
    rows = due.rows if spec.retrain_rows is None else spec.retrain_rows
    minutes = due.minutes if spec.retrain_after_minutes is None else spec.retrain_after_minutes
    if rows and sum(batch.rows for batch in waiting) >= rows:
        return True
    since = datetime.fromisoformat(min(batch.since for batch in waiting))
    return bool(minutes) and now - since >= timedelta(minutes=minutes)


def _first(waiting: Sequence[Batch]) -> list[Batch]:
    """Return the batches that one generation can take: at least one, those that arrived first."""
    size_bytes = 0
    found: list[Batch] = []
    for batch in waiting:
        size_bytes += batch.size_bytes
        if found and (size_bytes > MAX_NEW_BYTES or len(found) == MAX_BATCHES):
            break
        found.append(batch)
    return found


def _base(dataset: str, runs: RunStore) -> Run:
    """Return the run of the newest uploaded file that was trained on."""
    run = runs.last_upload(dataset) or runs.last_success(dataset)
    if run is None or run.source != "upload":
        raise BadInput(
            f"No run of an uploaded file of the dataset {dataset!r} has succeeded",
            code="dataset-untrained",
            where=f"s3://…/{keys.upload(dataset, '')}",
            remedy="Upload a file; the rows that were collected wait for it.",
        )
    return run


def _layout(base: Run, artifacts: ObjectStore) -> Layout:
    try:
        return read_layout(base.run_id, artifacts)
    except NotFound:
        raise BadInput(
            f"The files of the run {base.run_id} are gone, and with them how its upload is to be read",
            code="base-gone",
            where=f"s3://{artifacts.bucket}/{keys.layout(base.run_id)}",
            remedy=f"Upload the file to {keys.upload(base.dataset, '')} again; the rows that were collected "
            "wait for it.",
        ) from None


def _finish(
    generation: Generation,
    written: Sequence[str],
    data: ObjectStore,
    artifacts: ObjectStore,
    ledger: PendingRows,
) -> Generation:
    """Do all that follows from a generation that was begun; harmless when repeated."""
    dataset, number = generation.dataset, generation.number
    key = keys.generation_file(dataset, number)
    if not is_there(key, data):
        new = _new_records(generation, data)
        merged = (record.line + b"\n" for record, _ in _merged(generation, new, data))
        data.put_stream(keys.generation(dataset, number, _ROWS), in_blocks(merged))
        with contextlib.suppress(Conflict):  # another one was as far at the same time, with the same bytes
            data.put_stream(key, in_blocks(_file(generation, new, data, artifacts)), only_if_absent=True)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(ledger.take, generation.batches))
    version_id = data.head(key).version_id
    run_id = run_id_of(data.bucket, dataset, key, version_id)
    done = _Done(key, version_id, run_id, utc_now())
    write_json(data, keys.generation(dataset, number, _DONE), done, only_if_absent=True)
    _tidy(generation, written, data)
    return generation


def _tidy(generation: Generation, written: Sequence[str], data: ObjectStore) -> None:
    """Delete what this generation has all of: earlier ones' rows and files, their old versions kept."""
    dataset, number = generation.dataset, generation.number
    for key in written:
        if key.endswith(f"/{_ROWS}") and _number(dataset, key) < number:
            data.delete(key)
    for key in list(data.list(keys.generation_files(dataset))):
        if (keys.generation_of(key) or number) < number:
            data.delete(key)


# --- the records -------------------------------------------------------------------------------


class _Record(NamedTuple):
    """A collected record's line; sorted by its id as people see it, then by its identity."""

    shown: str
    identity: str
    line: bytes


def _record(line: bytes) -> _Record:
    found = json.loads(line)
    return _Record(found["id"], found["identity"], line)


def _new_records(generation: Generation, data: ObjectStore) -> list[_Record]:
    """Return the records of the generation's batches, sorted."""
    texts = read_parts(data, generation.batches)
    return sorted(_record(line) for text in texts for line in text.split(b"\n") if line)


def _merged(
    generation: Generation, new: Sequence[_Record], data: ObjectStore
) -> Iterator[tuple[_Record, bool]]:
    """Yield the records of all generations so far, sorted, each identity once, and whether it is new.

    The ledger forgets an identity in time, so a producer's late duplicate may come this far: the record that
    was there first stays.
    """
    earlier = ((_record(line), False) for line in _earlier(generation, data))
    last: tuple[str, str] | None = None
    ours = ((record, True) for record in new)
    for record, is_new in heapq.merge(earlier, ours, key=lambda one: (*one[0][:2], one[1])):
        if record[:2] != last:
            yield record, is_new
        last = record[:2]


def _earlier(generation: Generation, data: ObjectStore) -> Iterator[bytes]:
    """Yield the lines of the generation before."""
    if generation.number == 1:
        return
    rest = b""
    for block in data.stream(keys.generation(generation.dataset, generation.number - 1, _ROWS)):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines


# --- the file ----------------------------------------------------------------------------------


def _file(
    generation: Generation, new: Sequence[_Record], data: ObjectStore, artifacts: ObjectStore
) -> Iterator[bytes]:
    """Yield the training file: a header, with ``append`` the uploaded file's rows, and the collected ones."""
    yield to_csv([generation.columns])
    if generation.on_new_data == "append":
        key = keys.collected_base(generation.dataset, generation.base_run)
        if not is_there(key, data):
            data.put_stream(key, in_blocks(_plain(generation, data, artifacts)))
        yield from data.stream(key)
    for record, is_new in _merged(generation, new, data):
        if is_new or generation.on_new_data == "append":
            rows = json.loads(record.line)["rows"]
            yield to_csv([[row.get(name, "") for name in generation.columns] for row in rows])


def _plain(generation: Generation, data: ObjectStore, artifacts: ObjectStore) -> Iterator[bytes]:
    """Yield the records of the uploaded file in one dialect; those that were rejected, its run has listed."""
    records = records_of(read_layout(generation.base_run, artifacts), data, artifacts)
    return some_at_once(record.cells for record in records if isinstance(record, csvfile.Record))
