"""Cut the file at record boundaries, once, and put one descriptor for each chunk on the stream.

A large file is first looked through in parallel: its byte ranges are the parts of the pass ``scan``, and what
the workers found is composed here. A compressed one is unpacked here, once, and cut as it goes. Nothing
here holds more than a few megabytes of a file.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from millrace import csvfile, keys
from millrace.contracts import (
    Chunk,
    Dialect,
    Layout,
    ObjectStore,
    PassName,
    Run,
    RunState,
    RunStore,
    decode,
)
from millrace.errors import BadInput, NotFound, TooLarge
from millrace.fanout import begin_pass, heartbeats
from millrace.fanout.ports import DescriptorStream, TaskTokens
from millrace.registry.registry import Registry
from millrace.runs.append import appends, join
from millrace.runs.progress import read_layout, read_parts, read_ranges, write_json
from millrace.runs.score import columns_kept, match_names

__all__ = ["HEARTBEAT_S", "MAX_CHUNKS", "MAX_COLUMNS", "chunk_bytes", "fan_out", "pass_named"]

HEARTBEAT_S = 20.0
"""Cutting a large or compressed file takes longer than the task's heartbeat interval."""

MAX_COLUMNS = 10_000
"""Most columns of a file: profile, schema and signature have an entry for each."""
MAX_CHUNKS = 10_000
"""Most chunks of a file: which of them are done is one item in the table, of 400 KB at most."""

_STATES: dict[PassName, RunState] = {"profile": "PROFILING", "convert": "CONVERTING", "score": "SCORING"}
_PASSES: tuple[PassName, ...] = ("scan", *_STATES)


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
    shards: int,
    width: int,
    tickets: int,
    group_tickets: int,
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
    shards : int
        Of the stream; 0 where a Map takes its place. The run's cost depends on it.
    width : int
        How many chunks a file is cut into that is large enough.
    tickets : int
        How many tickets go round for the chunks of a pass, 0 to name every chunk at once.
    group_tickets : int
        How many of them claim their chunks in one group; 0 for no groups.
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
    run = runs.get(run_id)
    runs.update(run_id, state=_state(run, pass_name), shards=shards)
    size = functools.partial(chunk_bytes, width=width, minimum=min_chunk_bytes, maximum=max_chunk_bytes)
    with heartbeats(token, every_s=HEARTBEAT_S, tasks=tasks):
        cutting = _Cutting(run, data, artifacts, runs, size, min_chunk_bytes, max_file_bytes)
        layout = cutting.ranges() if pass_name == "scan" else None
        if layout is None:
            layout = cutting.layout()
            if pass_name == "scan":  # there was nothing to do in parallel
                tasks.succeed(token, {"run_id": run_id, "pass_name": pass_name, "chunks": 0})
                return layout
        begin_pass(
            run_id,
            pass_name,
            chunks=len(layout.chunks),
            token=token,
            runs=runs,
            stream=stream,
            tickets=tickets,
            group_tickets=group_tickets,
        )
    return layout


def _state(run: Run, pass_name: PassName) -> RunState:
    if pass_name == "scan":  # a part of what follows
        pass_name = "profile" if run.kind == "train" else "score"
    return _STATES[pass_name]


def pass_named(name: str) -> PassName:
    """Return the pass called ``name``; ``BadInput`` if there is none."""
    for known in _PASSES:
        if known == name:
            return known
    raise BadInput(
        f"There is no pass {name!r}", code="event-invalid", where="pass_name", remedy=f"{', '.join(_PASSES)}."
    )


def chunk_bytes(size_bytes: int, width: int, minimum: int, maximum: int) -> int:
    """Return how long a chunk should be: one for each worker, within the bounds.

    A file that one round of the workers cannot take at ``maximum`` is cut so that the rounds are full.
    """
    rounds = max(1, -(-size_bytes // (width * maximum)))
    return min(maximum, max(minimum, -(-size_bytes // (width * rounds))))


@dataclass(frozen=True)
class _Source:
    """The text that is cut: the upload, or what came of unpacking it."""

    store: ObjectStore
    key: str
    version_id: str
    size_bytes: int
    head: bytes

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes ``[start, end)``, fewer where the file ends."""
        end = min(end, self.size_bytes)
        if end <= len(self.head):
            return self.head[start:end]
        if start >= end:
            return b""
        return self.store.get(self.key, version_id=self.version_id or None, start=start, end=end)


@dataclass(frozen=True)
class _Cutting:
    """How a run's file becomes its layout; what was written before is kept."""

    run: Run
    data: ObjectStore
    artifacts: ObjectStore
    runs: RunStore
    target_bytes: Callable[[int], int]
    min_chunk_bytes: int
    max_file_bytes: int

    def ranges(self) -> Layout | None:
        """Return the byte ranges to read in parallel; None when the layout is there or needs none."""
        with contextlib.suppress(NotFound):
            read_layout(self.run.run_id, self.artifacts)
            return None
        source, sniffed = self._upload
        if sniffed is None:
            return None
        body = csvfile.body_of(source.head, sniffed.dialect)
        ranges = csvfile.ranges_of(body, source.size_bytes, self._target(source))
        if len(ranges) < 2:
            return None
        parts = tuple(Chunk(number, start, end, 0, 0) for number, (start, end) in enumerate(ranges))
        layout = _layout(source, sniffed.names, sniffed.dialect, parts, sniffed.notes)
        return self._keep(keys.ranges(self.run.run_id), layout)

    def layout(self) -> Layout:
        """Return where the run's chunks lie."""
        try:
            return read_layout(self.run.run_id, self.artifacts)
        except NotFound:
            return self._keep(keys.layout(self.run.run_id), self._cut())

    def _keep(self, key: str, layout: Layout) -> Layout:
        if write_json(self.artifacts, key, layout, only_if_absent=True):
            return layout
        return decode(Layout, json.loads(self.artifacts.get(key)))

    def _cut(self) -> Layout:
        run, own = self.run, self._own()
        if not appends(run):
            return own
        joined = join(
            *(run, own),
            data=self.data,
            artifacts=self.artifacts,
            runs=self.runs,
            max_bytes=self.max_file_bytes,
        )
        if joined is None:
            return own
        key = keys.source(run.run_id)
        head = self.artifacts.get(key, end=csvfile.HEAD_BYTES)
        source = _Source(self.artifacts, key, "", joined.size_bytes, head)
        cut = csvfile.find_chunks(source.read, source.size_bytes, Dialect(), self._target(source))
        names = joined.parts[0].names
        notes = tuple(dict.fromkeys((*own.notes, joined.note, *cut.notes)))
        return _layout(source, names, cut.dialect, cut.chunks, notes)

    def _own(self) -> Layout:
        """Return where the records of the upload itself lie."""
        source, sniffed = self._upload
        if sniffed is None:
            source, sniffed, scans = self._unpack()
        else:
            scans = self._scanned()
        dialect, target = sniffed.dialect, self._target(source)
        if scans:
            ranges = [(scan.start, scan.end) for scan in scans]
            body = csvfile.body_of(source.head, dialect)
            known = dict(enumerate(scans))
            cut = csvfile.compose(ranges, known, source.head, body, dialect, target, source.read)
        else:
            cut = csvfile.find_chunks(source.read, source.size_bytes, dialect, target)
        notes = tuple(dict.fromkeys((*sniffed.notes, *cut.notes)))
        return _layout(source, sniffed.names, cut.dialect, cut.chunks, notes)

    def _scanned(self) -> list[csvfile.RangeScan]:
        """Return what workers have found in the file's ranges; nothing if none was looked through."""
        run_id = self.run.run_id
        try:
            parts = read_ranges(run_id, self.artifacts).chunks
        except NotFound:
            return []
        found = read_parts(self.artifacts, [keys.part(run_id, "scan", part.number) for part in parts])
        return [decode(csvfile.RangeScan, json.loads(text)) for text in found]

    def _target(self, source: _Source) -> int:
        target = self.target_bytes(source.size_bytes)
        if source.size_bytes > MAX_CHUNKS * target:
            raise TooLarge(
                f"The file would be cut into {-(-source.size_bytes // target):,} chunks; the limit is "
                f"{MAX_CHUNKS:,}",
                code="chunks-too-many",
                where=self._where,
                remedy="Raise the stack's parameter MaxChunkBytes, or upload the file in parts.",
            )
        return target

    @property
    def _where(self) -> str:
        return f"s3://{self.run.bucket}/{self.run.key}"

    @functools.cached_property
    def _upload(self) -> tuple[_Source, csvfile.Sniffed | None]:
        """The upload, and what its head says; None when it must be unpacked first."""
        run = self.run
        head = self.data.get(run.key, version_id=run.version_id, end=csvfile.HEAD_BYTES)
        source = _Source(self.data, run.key, run.version_id, run.size_bytes, head)
        if csvfile.needs_rewrite(head):
            return source, None
        return source, self._sniff(head, complete=len(head) == run.size_bytes)

    def _unpack(self) -> tuple[_Source, csvfile.Sniffed, list[csvfile.RangeScan]]:
        """Unpack the upload into a file of its own, in one go, and read it for records meanwhile."""
        run = self.run
        upload = self.data.stream(run.key, version_id=run.version_id)
        blocks = csvfile.rewrite(upload, max_bytes=self.max_file_bytes)
        head = b""
        for block in blocks:
            head += block
            if len(head) > csvfile.HEAD_BYTES:
                break
        sniffed = self._sniff(head[: csvfile.HEAD_BYTES], complete=len(head) <= csvfile.HEAD_BYTES)
        body = csvfile.body_of(head, sniffed.dialect)
        scan = csvfile.StreamScan(sniffed.dialect, body, self.min_chunk_bytes)

        def read() -> Iterator[bytes]:
            for block in itertools.chain((head,), blocks):
                scan.feed(block)
                yield block

        key = keys.unpacked(run.run_id) if appends(run) else keys.source(run.run_id)
        # Our own file has no version: written again, it would hold the same bytes.
        source = _Source(self.artifacts, key, "", self.artifacts.put_stream(key, read()), head)
        scan.finish()
        return source, sniffed, scan.scans

    def _sniff(self, head: bytes, *, complete: bool) -> csvfile.Sniffed:
        run = self.run
        fields = _signature(run, self.artifacts)
        sniffed = csvfile.sniff(head, complete=complete, expected=_expected(run, fields))
        if len(sniffed.names) > MAX_COLUMNS:
            raise TooLarge(
                f"The file has {len(sniffed.names):,} columns; the limit is {MAX_COLUMNS:,}",
                code="columns-too-many",
                where=self._where,
                remedy="Leave out columns that nothing can be learned from, or put several into one text.",
            )
        if run.score is None:
            return sniffed
        # Refused now, before the chunks are looked for.
        names = match_names(sniffed.names, sniffed.dialect.header, fields, self._where)
        columns_kept(names, run.score, self._where)
        return replace(sniffed, names=names)


def _layout(
    source: _Source,
    names: tuple[str, ...],
    dialect: Dialect,
    chunks: tuple[Chunk, ...],
    notes: tuple[str, ...],
) -> Layout:
    return Layout(
        bucket=source.store.bucket,
        key=source.key,
        version_id=source.version_id,
        size_bytes=source.size_bytes,
        dialect=dialect,
        names=names,
        chunks=chunks,
        notes=notes,
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
