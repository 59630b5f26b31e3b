"""Ranges read each for itself and composed, against the parser that reads the file in one go."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.contracts import Chunk, Dialect, decode, encode
from millrace.csvfile import (
    Boundaries,
    RangeScan,
    StreamScan,
    body_of,
    compose,
    entries,
    find_chunks,
    kernel,
    ranges_of,
    scan_range,
)
from millrace.csvfile import records as records_module
from millrace.csvfile.encoding import Evidence, weigh
from millrace.csvfile.records import count_lines, physical_lines, split_records
from millrace.errors import BadInput
from tests.tables import blocks_of

PIECES = [
    b"a",
    b"bc,",
    b",",
    b'"',
    b'""',
    b'","',
    b"\n",
    b"\r\n",
    b"\r",
    b"\n\n",
    b" ",
    b"\\",
    b"\\\n",
    b"x,y\n",
]
LETTERS = [b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9d\x84\x9e", b"\xff", b"\x80", b"\xe2\x82", b"\xed\xa0\x80"]
TEXT = st.lists(st.sampled_from(PIECES + LETTERS), min_size=1, max_size=40).map(b"".join)
DIALECTS = st.builds(
    Dialect,
    delimiter=st.sampled_from([",", ",", " "]),
    quote=st.sampled_from(['"', '"', ""]),
    escape=st.sampled_from(["", "", "\\"]),
    skip_space=st.booleans(),
    blank_lines=st.booleans(),
    header=st.just(False),
)


def around(data: bytes, start: int, end: int) -> tuple[bytes, int]:
    """Return a range with what a worker reads beside it, and where that begins."""
    offset = max(start - 3, 0)
    return data[offset : end + 3], offset


def composed(data: bytes, dialect: Dialect, range_bytes: int, target_bytes: int) -> Boundaries:
    """Cut as in parallel: every range from every state, and through JSON as between two functions."""
    body = body_of(data, dialect)
    ranges = ranges_of(body, len(data), range_bytes)
    scans = {}
    for number, (start, end) in enumerate(ranges):
        part, offset = around(data, start, end)
        scan = scan_range(part, offset, start, end, dialect, entries(dialect))
        scans[number] = decode(RangeScan, encode(scan))
    return compose(ranges, scans, data, body, dialect, target_bytes, lambda a, b: data[a:b])


def streamed(data: bytes, dialect: Dialect, range_bytes: int, target_bytes: int, block: int) -> Boundaries:
    """Cut as while inflating."""
    body = body_of(data, dialect)
    stream = StreamScan(dialect, body, range_bytes)
    for piece in blocks_of(data, block):
        stream.feed(piece)
    assert stream.finish() == len(data)
    ranges = [(scan.start, scan.end) for scan in stream.scans]
    assert ranges[0][0] == body.start
    assert ranges[-1][1] == len(data)
    return compose(
        ranges, dict(enumerate(stream.scans)), data, body, dialect, target_bytes, lambda a, b: data[a:b]
    )


@dataclass
class Whole:
    """What the parser finds, reading from begin to end."""

    places: dict[int, tuple[int, int]]
    """Line and number of the record that begins at an offset."""
    records: int
    open_lines: list[int]

    @classmethod
    def of(cls, data: bytes, dialect: Dialect) -> Whole:
        places: dict[int, tuple[int, int]] = {}
        open_lines = []
        count = 0
        for record in split_records(physical_lines([data]), dialect):
            places[record.offset] = (record.line, count)
            if record.cells is None:
                open_lines.append(record.line)
            count += record.cells != []
        return cls(places, count, open_lines)

    def check(self, found: Boundaries, data: bytes) -> None:
        for chunk in found.chunks:
            assert self.places[chunk.start] == (chunk.first_line, chunk.first_record), chunk
        assert found.records == self.records
        assert [c.end for c in found.chunks] == [*(c.start for c in found.chunks[1:]), len(data)]
        firsts = [chunk.first_record for chunk in found.chunks]
        assert firsts == sorted(set(firsts)), "each chunk holds a record"
        notes = [note for note in found.notes if "never closed" in note]
        assert [note.split()[1] for note in notes] == [str(line) for line in self.open_lines]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=TEXT,
    dialect=DIALECTS,
    range_bytes=st.integers(1, 30),
    target=st.integers(1, 60),
    limit=st.integers(5, 90),
)
def test_composed_ranges_are_the_parser_s_way_through_the_file(
    data: bytes, dialect: Dialect, range_bytes: int, target: int, limit: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records_module, "MAX_RECORD_BYTES", limit)
        patch.setattr(Evidence, "decide", lambda self: ("utf-8", ""))
        ways = [
            lambda: composed(data, dialect, range_bytes, target),
            lambda: find_chunks(lambda a, b: data[a:b], len(data), dialect, target),
            lambda: streamed(data, dialect, range_bytes, target, 7),
        ]
        try:
            whole = Whole.of(data, dialect)
            if not whole.records:
                raise BadInput("", code="no-rows")
        except BadInput as error:
            for way in ways:
                with pytest.raises(BadInput) as caught:
                    way()
                assert caught.value.code == error.code
                assert error.where in ("", caught.value.where)
            return
        for way in ways:
            whole.check(way(), data)


@settings(max_examples=150, deadline=None)
@given(
    data=TEXT,
    dialect=DIALECTS,
    cut=st.tuples(st.integers(0, 80), st.integers(1, 80)),
    limit=st.integers(1, 90),
)
def test_the_kernel_reads_a_range_as_the_python_does(
    data: bytes, dialect: Dialect, cut: tuple[int, int], limit: int
) -> None:
    assert kernel.library() is not None
    start = min(cut[0], len(data) - 1)
    end = min(start + cut[1], len(data))
    part, offset = around(data, start, end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records_module, "MAX_RECORD_BYTES", limit)
        quick = scan_range(part, offset, start, end, dialect, entries(dialect))
        patch.setattr(kernel, "library", lambda: None)
        assert quick == scan_range(part, offset, start, end, dialect, entries(dialect))


def test_long_fields_and_many_records_lie_across_the_kernel_s_blocks() -> None:
    rows = [b'%d,"%s"\r\n' % (number, b'x""\r\ny,' * (number % 97)) for number in range(1500)]
    rows[700] = b'700,"' + b"z\n" * 100_000 + b'"\r\n'
    data = b"".join(rows)
    whole = Whole.of(data, Dialect(header=False))
    for range_bytes in (1000, 65_536, 100_003, len(data)):
        whole.check(composed(data, Dialect(header=False), range_bytes, range_bytes), data)


@given(data=TEXT, cuts=st.lists(st.integers(0, 100), max_size=4), block=st.integers(1, 9))
@settings(max_examples=100, deadline=None)
@pytest.mark.parametrize("python", [False, True], ids=["kernel", "python"])
def test_evidence_adds_up_over_ranges_with_characters_across_their_ends(
    python: bool, data: bytes, cuts: list[int], block: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if python:
            patch.setattr(kernel, "library", lambda: None)
        text = data.decode("utf-8", "surrogateescape")
        escaped = [letter for letter in text if "\udc80" <= letter <= "\udcff"]
        whole = weigh(data, 0, len(data))
        assert whole.invalid == len(escaped)
        assert whole.valid == sum(letter > "\x7f" for letter in text) - len(escaped)
        edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        parts = []
        for start, end in itertools.pairwise(edges):
            part, offset = around(data, start, end)
            parts.append(weigh(part, start - offset, end - offset))
        for name in ("valid", "invalid", "high", "in_runs", "rare", "damage"):
            assert getattr(whole, name) == sum(getattr(part, name) for part in parts)
        firsts = [s + p.first_invalid for s, p in zip(edges, parts, strict=False) if p.first_invalid >= 0]
        assert whole.first_invalid == (firsts[0] if firsts else -1)
        evidence = Evidence()
        for piece in blocks_of(data, block):
            evidence.add(piece)
        evidence.add(b"", final=True)
        assert (evidence.valid, evidence.invalid) == (whole.valid, whole.invalid)
        if escaped:
            assert evidence.first_line == 1 + count_lines(data, 0, whole.first_invalid)


def test_the_note_on_the_encoding_names_the_line_of_the_whole_file() -> None:
    data = b"name\n" + b"plain\r\n" * 50 + b"caf\xe9\n" + b"end\n" * 50
    for range_bytes in (10, 64, 1000):
        found = composed(data, Dialect(), range_bytes, 100)
        assert found.dialect.encoding == "cp1252"
        assert "line 52" in found.notes[0]


def test_chunks_are_near_their_target_and_cover_the_file() -> None:
    data = b"a,b\n" + b"".join(b'%d,"x\ny"\n' % number for number in range(20_000))
    found = composed(data, Dialect(), 7000, 50_000)
    sizes = [chunk.end - chunk.start for chunk in found.chunks]
    assert all(abs(size - 50_000) < 8000 for size in sizes[:-1])
    assert found.chunks[0] == Chunk(0, 4, found.chunks[0].end, 2, 0)
    assert sum(sizes) == len(data) - 4


def test_a_stream_of_unknown_length_has_few_ranges() -> None:
    dialect = Dialect(header=False)
    stream = StreamScan(dialect, body_of(b"", dialect), 1000)
    line = b"x" * 99 + b"\n"
    for _ in range(1000):
        stream.feed(line * 100)
    assert stream.finish() == 10_000_000
    assert len(stream.scans) < 2000
    assert stream.scans[-2].end - stream.scans[-2].start > 10_000
