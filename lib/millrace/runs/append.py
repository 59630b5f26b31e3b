"""Files that are appended: a run trains on the rows of its file and of those before it, each file once.

A dataset's *parts* are files: the first one, which was trained on alone, and those that were appended to it
by runs that have succeeded. Each is kept plainly, in one dialect and with the columns of the first one in
their order, so that a run's source is a header and the parts, one behind the other. Which parts a run has is
written down before its source is, and stays. A record that was rejected is written, too, so that the run
counts it and rejects it again.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from millrace import csvfile, keys
from millrace.contracts import Layout, ObjectStore, Run, RunStore, decode
from millrace.errors import BadInput, NotFound, TooLarge
from millrace.runs.plain import in_blocks, records_of, some_at_once, to_csv
from millrace.runs.progress import read_layout, read_parts, write_json

__all__ = ["Joined", "Part", "appends", "join"]


@dataclass(frozen=True)
class Part:
    """One file of a dataset."""

    run_id: str
    """The run that brought it."""
    first: str
    """The run of the file that it was appended to, before any other; of the first file its own."""
    created_at: str
    """Of the run: parts lie in this order."""
    file: str
    """URI of the upload."""
    file_version: str
    file_bytes: int
    sha256: str
    """Of the upload's bytes: the same bytes are one part, however often they come."""
    names: tuple[str, ...]
    """Of the first file's columns, in their order."""
    records: int
    rejected: int
    """Of the records, those that do not have the file's columns."""
    same_as: str | None = None
    """The run that had brought the same bytes before: this one adds nothing."""


@dataclass(frozen=True)
class Joined:
    """A run's source, made of parts."""

    size_bytes: int
    parts: tuple[Part, ...]
    note: str


def appends(run: Run) -> bool:
    """Tell whether the run's file is appended to those before it, if there are any."""
    return run.kind == "train" and run.source == "upload" and run.spec.on_new_file != "replace"


def join(
    run: Run, own: Layout, *, data: ObjectStore, artifacts: ObjectStore, runs: RunStore, max_bytes: int
) -> Joined | None:
    """Write the run's source: the rows of all parts, and of its own file unless that is one of them.

    Parameters
    ----------
    run : Run
        A run that :func:`appends`.
    own : Layout
        How its own file is read.
    data, artifacts, runs
        The data bucket, the artifact bucket and the run records.
    max_bytes : int
        Most bytes of the source.

    Returns
    -------
    Joined or None
        None when there is nothing that it could be appended to.

    Raises
    ------
    BadInput
        Its columns are not those of the parts, or the first file cannot be read any more.
    TooLarge
        The parts are too much together.
    """
    parts = _parts(run, own, data, artifacts, runs)
    if parts is None:
        return None
    pieces = [(data, keys.appended(run.dataset, part.run_id, "csv")) for part in parts]
    size_bytes = sum(store.head(key).size_bytes for store, key in pieces)
    if size_bytes > max_bytes:
        raise TooLarge(
            f"The {len(parts)} files of the dataset have {size_bytes:,} bytes together; the limit is "
            f"{max_bytes:,}",
            code="file-too-large",
            where=f"s3://{run.bucket}/{run.key}",
            remedy='Begin anew with "on_new_file": "replace" in spec.json, or raise MaxFileBytes.',
        )
    written = artifacts.put_stream(keys.source(run.run_id), (to_csv([parts[0].names]), *pieces))
    return Joined(written, parts, _note(run, parts))


def _note(run: Run, parts: Sequence[Part]) -> str:
    counted = ", ".join(f"{part.file.rpartition('/')[2]} ({part.records} records)" for part in parts)
    own = "" if parts[-1].run_id == run.run_id else " The file uploaded last is one of them already."
    return f"The run has the rows of {len(parts)} files, as on_new_file says: {counted}.{own}"


def _parts(
    run: Run, own: Layout, data: ObjectStore, artifacts: ObjectStore, runs: RunStore
) -> tuple[Part, ...] | None:
    """Return the run's parts, as they were written down by whoever came first."""
    key = keys.run_parts(run.run_id)
    try:
        return decode(_Parts, json.loads(artifacts.get(key))).parts
    except NotFound:
        last = runs.last_upload(run.dataset)
    if last is None:
        return None
    known = _known(last, data, artifacts, runs)
    digest = _digest(run, data)
    same = next((part for part in known if part.sha256 == digest), None)
    if same is None:
        known.append(_keep(run, own, digest, known[0], data, artifacts))
    else:
        again = replace(same, run_id=run.run_id, created_at=run.created_at, same_as=same.run_id)
        write_json(data, keys.appended(run.dataset, run.run_id, "json"), again)
    write_json(artifacts, key, _Parts(tuple(known)), only_if_absent=True)
    return decode(_Parts, json.loads(artifacts.get(key))).parts


@dataclass(frozen=True)
class _Parts:
    parts: tuple[Part, ...]


def _known(last: Run, data: ObjectStore, artifacts: ObjectStore, runs: RunStore) -> list[Part]:
    """Return the parts so far: the first file, and what was appended to it by runs that have succeeded.

    Two files that arrive at once do not have each other; the next one has both.
    """
    listed = [key for key in data.list(keys.appended(last.dataset, "", "")) if key.endswith(".json")]
    found = {part.run_id: part for part in map(_part, read_parts(data, listed))}
    mine = found.get(last.run_id)
    first = _keep_first(last, data, artifacts) if mine is None else found[mine.first]
    parts = {first.sha256: first}
    for part in sorted(found.values(), key=lambda part: (part.created_at, part.run_id)):
        ours = part.first == first.run_id and part.same_as is None and part.sha256 not in parts
        if ours and _succeeded(part.run_id, runs):
            parts[part.sha256] = part
    return list(parts.values())


def _part(text: bytes) -> Part:
    return decode(Part, json.loads(text))


def _succeeded(run_id: str, runs: RunStore) -> bool:
    try:
        return runs.get(run_id).state == "SUCCEEDED"
    except NotFound:
        return False


def _keep_first(last: Run, data: ObjectStore, artifacts: ObjectStore) -> Part:
    try:
        return _keep(last, read_layout(last.run_id, artifacts), _digest(last, data), None, data, artifacts)
    except NotFound:
        raise BadInput(
            f"The file of the run {last.run_id}, to which this one is to be appended, is gone",
            code="base-gone",
            where=f"s3://{last.bucket}/{last.key}, version {last.version_id}",
            remedy='Upload it again, with "on_new_file": "replace" in spec.json; then this one.',
        ) from None


def _digest(run: Run, data: ObjectStore) -> str:
    digest = hashlib.sha256()
    for block in data.stream(run.key, version_id=run.version_id):
        digest.update(block)
    return digest.hexdigest()


def _keep(
    run: Run, layout: Layout, digest: str, first: Part | None, data: ObjectStore, artifacts: ObjectStore
) -> Part:
    """Write a run's file plainly, and what is known of it."""
    names = layout.names if first is None else first.names
    if set(names) != set(layout.names):
        raise _other_columns(run, names, layout.names)
    records = _Records(layout, [layout.names.index(name) for name in names], data, artifacts)
    data.put_stream(keys.appended(run.dataset, run.run_id, "csv"), in_blocks(records))
    part = Part(
        run_id=run.run_id,
        first=run.run_id if first is None else first.run_id,
        created_at=run.created_at,
        file=f"s3://{run.bucket}/{run.key}",
        file_version=run.version_id,
        file_bytes=run.size_bytes,
        sha256=digest,
        names=names,
        records=records.count,
        rejected=records.rejected,
    )
    write_json(data, keys.appended(run.dataset, run.run_id, "json"), part)
    return part


def _other_columns(run: Run, expected: Sequence[str], found: Sequence[str]) -> BadInput:
    missing = [name for name in expected if name not in found]
    more = [name for name in found if name not in expected]
    says = [
        f"{', '.join(map(repr, names))} {what}"
        for names, what in ((missing, "missing"), (more, "new"))
        if names
    ]
    return BadInput(
        f"The columns of {run.key.rpartition('/')[2]!r} are not those of the files that it is to be appended "
        f"to: {' and '.join(says)}",
        code="part-columns",
        where=f"s3://{run.bucket}/{run.key}",
        remedy='Give it the same columns, in any order; or set "on_new_file": "replace" in spec.json, which '
        "begins anew with this file.",
    )


class _Records:
    """A file's records in one dialect, counted as they are read."""

    def __init__(
        self, layout: Layout, order: Sequence[int], data: ObjectStore, artifacts: ObjectStore
    ) -> None:
        self._layout, self._order = layout, order
        self._found = records_of(layout, data, artifacts)
        self.count = self.rejected = 0

    def __iter__(self) -> Iterator[bytes]:
        return some_at_once(map(self._cells, self._found))

    def _cells(self, record: csvfile.Record | csvfile.Reject) -> list[str]:
        self.count += 1
        if isinstance(record, csvfile.Record):
            return [record.cells[place] for place in self._order]
        self.rejected += 1
        dialect = self._layout.dialect
        reader = csv.reader(
            [record.raw],
            delimiter=dialect.delimiter,
            quotechar=dialect.quote or None,
            escapechar=dialect.escape or None,
            quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        )
        try:
            cells = next(reader, [])
        except csv.Error:
            cells = []
        # What is wrong must stay wrong: too many or too few fields, or else all of it in one.
        return cells if len(cells) != len(self._order) else [record.raw.rstrip("\r\n")]
