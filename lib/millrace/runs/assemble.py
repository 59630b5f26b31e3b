"""The scored parts become one file beside the upload, with its rejects and what there is to say of it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from millrace import keys
from millrace.contracts import Layout, ObjectStore, RunStore, ScoredChunk, decode
from millrace.errors import BadInput
from millrace.registry.registry import Registry
from millrace.runs.progress import read_layout, read_parts, write_json
from millrace.runs.score import header

__all__ = ["assemble"]

_WARNINGS = {
    "missing": "have no value in {field!r}",
    "unseen": "have a value in {field!r} that training did not see",
    "outside": "have a value in {field!r} outside what training saw",
    "not-finite": "lie too far outside what training saw for a finite result",
}


def assemble(run_id: str, *, data: ObjectStore, artifacts: ObjectStore, runs: RunStore) -> str:
    """Write the result, the rejects and the report of a score run; return the result's URI.

    They lie at ``scored/<model>/<file>`` in the data bucket, ``….rejects.jsonl`` and ``….report.json``
    beside it. Harmless when repeated: the same parts make the same file.

    Parameters
    ----------
    run_id : str
        The run, whose score pass is complete.
    data, artifacts : ObjectStore
        The data bucket and the artifact bucket.
    runs : RunStore
        Run records.

    Raises
    ------
    BadInput
        Every record is rejected.
    RuntimeError
        A record was lost: neither scored nor rejected. That is a fault of ours, never of the file.
    """
    run = runs.get(run_id)
    spec = run.score
    assert spec is not None and run.model is not None and run.version is not None
    layout = read_layout(run_id, artifacts)
    version = Registry(artifacts).version(run.model, run.version)
    parts = [keys.part(run_id, "score", chunk.number) for chunk in layout.chunks]
    chunks = [decode(ScoredChunk, json.loads(part)) for part in read_parts(artifacts, parts)]
    read, scored, rejected = _totals(chunks)
    key = keys.scored(run.model, run.key, spec.format)
    result, rejects = (f"s3://{data.bucket}/{name}" for name in (key, keys.scored_rejects(key)))
    # The rejects first: they are what explains a file of which nothing could be scored.
    faulty = [keys.rejects(run_id, chunk.chunk) for chunk in chunks if chunk.rows_rejected]
    data.put_stream(keys.scored_rejects(key), _streamed(artifacts, faulty))
    warnings = _warned(chunks)
    runs.update(
        run_id,
        rows_read=read,
        rows_scored=scored,
        rows_rejected=rejected,
        rejects=rejects if rejected else None,
        warnings=(*layout.notes, *_sentences(read, scored, rejected, rejects, warnings)),
    )
    if not scored:
        raise BadInput(
            f"All {read} records are rejected",
            code="too-many-rejects",
            where=rejects,
            remedy="Each reject there says its line and its reason; correct the file and upload it again.",
        )
    filled = [chunk for chunk in chunks if chunk.rows_scored]
    names = filled[0].columns
    files = [keys.scored_part(run_id, chunk.chunk, spec.format) for chunk in filled]
    if spec.format == "csv":
        # A file of a gigabyte is not read here: the store puts its parts together itself.
        head = () if filled[0].headed else (header(names, layout.dialect.delimiter),)
        data.put_stream(key, (*head, *((artifacts, file) for file in files)))
    else:
        data.put_stream(key, _parquet(artifacts, files))
    report = {
        "run": run_id,
        "model": run.model,
        "version": run.version,
        "plan_sha256": version.plan_sha256,
        "file": f"s3://{run.bucket}/{run.key}",
        "file_version": run.version_id,
        "result": result,
        "format": spec.format,
        "strict": spec.strict,
        "columns": list(names),
        "not_used": _not_used(layout, version.signature),
        "rejects": rejects,
        "rows_read": read,
        "rows_scored": scored,
        "rows_rejected": rejected,
        "warnings": warnings,
        "notes": list(layout.notes),
    }
    # Last, because it says that the rest is there.
    write_json(data, keys.scored_report(key), report)
    runs.update(run_id, result=result, report=f"s3://{data.bucket}/{keys.scored_report(key)}")
    return result


def _totals(chunks: Sequence[ScoredChunk]) -> tuple[int, int, int]:
    read = sum(chunk.rows_read for chunk in chunks)
    scored = sum(chunk.rows_scored for chunk in chunks)
    rejected = sum(chunk.rows_rejected for chunk in chunks)
    if read != scored + rejected:
        raise RuntimeError(f"{read} read, {scored} are scored and {rejected} rejected")
    return read, scored, rejected


def _warned(chunks: Sequence[ScoredChunk]) -> list[dict[str, Any]]:
    """Return how many scored rows have each notice."""
    counts: dict[str, int] = {}
    for chunk in chunks:
        for what, count in chunk.warnings.items():
            counts[what] = counts.get(what, 0) + count
    found = []
    for what, count in sorted(counts.items()):
        code, _, field = what.partition(" ")
        found.append({"code": code, "field": field or None, "rows": count})
    return found


def _sentences(
    read: int, scored: int, rejected: int, rejects: str, warnings: Sequence[dict[str, Any]]
) -> tuple[str, ...]:
    said = []
    if rejected:
        said.append(
            f"{rejected} of {read} records are rejected; they lie, with line numbers and reasons, in "
            f"{rejects}."
        )
    for warning in warnings:
        what = _WARNINGS[warning["code"]].format(field=warning["field"])
        said.append(f"{warning['rows']} of {scored} scored rows {what}.")
    return tuple(said)


def _not_used(layout: Layout, signature: Sequence[Any]) -> list[str]:
    known = {described["name"] for described in signature}
    return [name for name in layout.names if name not in known]


def _streamed(artifacts: ObjectStore, parts: Sequence[str]) -> Iterator[bytes]:
    for part in parts:
        yield from artifacts.stream(part)


class _Sink(io.RawIOBase):
    """A file that is taken away in blocks as it grows."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        block = bytes(data)
        self._waiting.append(block)
        self._size += len(block)
        return len(block)

    def tell(self) -> int:
        return self._size

    def take(self) -> bytes:
        """Return what was written since the last time."""
        block = b"".join(self._waiting)
        self._waiting.clear()
        return block


def _parquet(artifacts: ObjectStore, parts: Sequence[str]) -> Iterator[bytes]:
    """Yield one Parquet file of the parts' rows, holding one part at a time."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    sink = _Sink()
    first = pq.read_table(io.BytesIO(artifacts.get(parts[0])))
    with pq.ParquetWriter(sink, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        yield sink.take()
        for part in parts[1:]:
            writer.write_table(pq.read_table(io.BytesIO(artifacts.get(part))))
            yield sink.take()
    yield sink.take()
