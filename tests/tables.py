"""A CSV file in memory taken through the rooms, cut as a test wants it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from millrace.contracts import Layout, Schema, Spec, decode, encode
from millrace.csvfile import (
    HEAD_BYTES,
    Record,
    Reject,
    find_chunks,
    needs_rewrite,
    read_records,
    rewrite,
    sniff,
)
from millrace.profile import Profile, decide_schema, merge, profile_chunk


def blocks_of(data: bytes, size: int) -> Iterator[bytes]:
    """Yield the data in blocks, as a store would."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


@dataclass(frozen=True)
class CsvTable:
    """A file that has been laid out: ``data`` is what the chunks are ranges of."""

    data: bytes
    layout: Layout

    @classmethod
    def of(cls, data: bytes, *, target_bytes: int = 1 << 20, block_bytes: int = 1 << 16) -> CsvTable:
        if needs_rewrite(data[:HEAD_BYTES]):
            data = b"".join(rewrite(blocks_of(data, block_bytes), max_bytes=256 << 20))
        sniffed = sniff(data[:HEAD_BYTES], complete=len(data) <= HEAD_BYTES)
        found = find_chunks(lambda a, b: data[a:b], len(data), sniffed.dialect, target_bytes)
        layout = Layout(
            bucket="bucket",
            key="datasets/table/table.csv",
            version_id="1",
            size_bytes=len(data),
            dialect=found.dialect,
            names=sniffed.names,
            chunks=found.chunks,
            notes=sniffed.notes + found.notes,
        )
        return cls(data, layout)

    def chunk(self, number: int) -> Iterator[Record | Reject]:
        chunk = self.layout.chunks[number]
        data = self.data[chunk.start : chunk.end]
        return read_records(data, self.layout.dialect, chunk, len(self.layout.names))

    @cached_property
    def records(self) -> list[Record | Reject]:
        return [record for chunk in self.layout.chunks for record in self.chunk(chunk.number)]

    @property
    def cells(self) -> list[list[str]]:
        return [record.cells for record in self.records if isinstance(record, Record)]

    @property
    def rejects(self) -> list[Reject]:
        return [record for record in self.records if isinstance(record, Reject)]

    @cached_property
    def profile(self) -> Profile:
        """Merged from the chunks' parts, each of which went through JSON as between two functions."""
        parts = [profile_chunk(self.chunk(chunk.number), self.layout.names) for chunk in self.layout.chunks]
        return merge([decode(Profile, json.loads(json.dumps(encode(part)))) for part in parts])

    def schema(self, spec: Spec | None = None) -> Schema:
        return decide_schema(self.profile, self.layout, spec or Spec())
