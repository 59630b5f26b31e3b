"""Cut the file at record boundaries, once, and put one descriptor for each chunk on the stream."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from millrace import keys
from millrace.contracts import Layout, ObjectStore, PassName, Run, RunState, RunStore
from millrace.errors import BadInput, NotFound
from millrace.fanout import begin_pass, heartbeats
from millrace.fanout.ports import DescriptorStream, TaskTokens
from millrace.registry.registry import Registry
from millrace.runs.progress import read_layout, write_json
from millrace.runs.score import columns_kept, match_names

__all__ = ["HEARTBEAT_S", "chunk_bytes", "fan_out", "pass_named"]

HEARTBEAT_S = 20.0
"""Cutting a large or compressed file takes longer than the task's heartbeat interval."""

_STATES: dict[PassName, RunState] = {"profile": "PROFILING", "convert": "CONVERTING", "score": "SCORING"}


def fan_out(
    run_id: str,
    pass_name: PassName,
    token: str,
    *,
    data: ObjectStore,
    artifacts: ObjectStore,
    runs: RunStore,
    stream: DescriptorStream,
    tasks: TaskTokens,
    width: int,
    min_chunk_bytes: int,
    max_chunk_bytes: int,
    max_file_bytes: int,
) -> Layout:
    """Begin a pass over the run's chunks.

    The layout is made by the first pass and kept: both passes, and every attempt of the run, have the
    same chunks, so what is done stays done.

    Parameters
    ----------
    run_id, pass_name, token : str
        The run, the pass, and the task token that the pass answers to.
    data, artifacts : ObjectStore
        The data bucket and the artifact bucket.
    runs, stream, tasks
        Run records, the stream of descriptors, and answers to task tokens.
    width : int
        How many chunks are worked on at once.
    min_chunk_bytes, max_chunk_bytes : int
        Bounds of a chunk's size.
    max_file_bytes : int
        Most bytes that a compressed file may unpack to.

    Raises
    ------
    BadInput
        The file cannot be read as CSV.
    TransientError
        A service refuses for the moment; the call may be repeated as it is.
    """
    runs.update(run_id, state=_STATES[pass_name])
    with heartbeats(token, every_s=HEARTBEAT_S, tasks=tasks):
        try:
            layout = read_layout(run_id, artifacts)
        except NotFound:
            size = functools.partial(
                chunk_bytes, width=width, minimum=min_chunk_bytes, maximum=max_chunk_bytes
            )
            layout = _lay_out(runs.get(run_id), data, artifacts, size, max_file_bytes)
            if not write_json(artifacts, keys.layout(run_id), layout, only_if_absent=True):
                layout = read_layout(run_id, artifacts)
        begin_pass(run_id, pass_name, chunks=len(layout.chunks), token=token, runs=runs, stream=stream)
    return layout


def pass_named(name: str) -> PassName:
    """Return the pass called ``name``; ``BadInput`` if there is none."""
    for known in _STATES:
        if known == name:
            return known
    raise BadInput(
        f"There is no pass {name!r}", code="event-invalid", where="pass_name", remedy=f"{', '.join(_STATES)}."
    )


def chunk_bytes(size_bytes: int, width: int, minimum: int, maximum: int) -> int:
    """Return how long a chunk should be: one for each worker, within the bounds.

    A file that one round of the workers cannot take at ``maximum`` is cut so that the rounds are full.
    """
    rounds = max(1, -(-size_bytes // (width * maximum)))
    return min(maximum, max(minimum, -(-size_bytes // (width * rounds))))


def _lay_out(
    run: Run,
    data: ObjectStore,
    artifacts: ObjectStore,
    target_bytes: Callable[[int], int],
    max_file_bytes: int,
) -> Layout:
    from millrace import csvfile

    store, key, version_id, size_bytes = data, run.key, run.version_id, run.size_bytes
    head = store.get(key, version_id=version_id, end=csvfile.HEAD_BYTES)
    if csvfile.needs_rewrite(head):
        blocks = csvfile.rewrite(store.stream(key, version_id=version_id), max_bytes=max_file_bytes)
        store, key = artifacts, keys.source(run.run_id)
        size_bytes = store.put_stream(key, blocks)
        version_id = ""  # our own file: written again, it would hold the same bytes
        head = store.get(key, end=csvfile.HEAD_BYTES)
    fields = _signature(run, artifacts)
    sniffed = csvfile.sniff(head, complete=len(head) == size_bytes, expected=_expected(run, fields))
    names = sniffed.names
    if run.score is not None:  # refused now, before the chunks are looked for
        where = f"s3://{run.bucket}/{run.key}"
        names = match_names(names, sniffed.dialect.header, fields, where)
        columns_kept(names, run.score, where)
    found = csvfile.find_chunks(
        store.stream(key, version_id=version_id or None),
        sniffed.dialect,
        target_bytes(size_bytes),
    )
    return Layout(
        bucket=store.bucket,
        key=key,
        version_id=version_id,
        size_bytes=size_bytes,
        dialect=found.dialect,
        names=names,
        chunks=found.chunks,
        notes=tuple(dict.fromkeys((*sniffed.notes, *found.notes))),
    )


def _signature(run: Run, artifacts: ObjectStore) -> tuple[Mapping[str, Any], ...]:
    """Return the fields of the version that a run scores with; none for a run that trains."""
    if run.score is None or run.model is None or run.version is None:
        return ()
    return Registry(artifacts).version(run.model, run.version).signature


def _expected(run: Run, fields: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names that a header must bear to be of any use to the run."""
    spec = run.spec
    asked = [name for name in (spec.target, spec.time_column, *spec.exclude) if name is not None]
    return asked + [str(described["name"]) for described in fields]
