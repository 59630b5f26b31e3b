"""The rows of a CSV file on this computer, read by the rules that training reads uploads by."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from millrace.csvfile.dialect import HEAD_BYTES, decode_cell, sniff
from millrace.csvfile.encoding import Evidence
from millrace.csvfile.inflate import needs_rewrite, rewrite
from millrace.csvfile.reader import fault_of
from millrace.csvfile.records import physical_lines, split_records
from millrace.errors import BadInput

MAX_FILE_BYTES = 16 << 30
"""Most bytes that a compressed file of rows may unpack to."""
BLOCK_BYTES = 1 << 20


def read_rows(
    file: Path, expected: Collection[str] = ()
) -> tuple[tuple[str, ...], Iterator[tuple[int, list[str]]]]:
    """Return the column names, and an iterator over line numbers and cells.

    The file is read twice, because only the whole of it tells its encoding, and never held in memory.
    ``expected`` are names that help to know its header.

    Raises
    ------
    BadInput
        The file is no CSV file; while iterating: a record does not fit the header. Nothing is left out
        silently, because line n of the predictions belongs to row n of the file.
    """
    evidence = Evidence()
    head = b""
    size = 0
    for block in _blocks(file):
        evidence.add(block)
        if len(head) < HEAD_BYTES:
            head += block[: HEAD_BYTES - len(head)]
        size += len(block)
    evidence.add(b"", final=True)
    encoding, _ = evidence.decide()
    sniffed = sniff(head, complete=size <= HEAD_BYTES, expected=expected)
    dialect, names = sniffed.dialect, sniffed.names

    def rows() -> Iterator[tuple[int, list[str]]]:
        header = dialect.header
        lines = physical_lines(_blocks(file), skip_bytes=dialect.skip_bytes)
        for record in split_records(lines, dialect, line=1 + dialect.skip_lines, offset=dialect.skip_bytes):
            if record.cells == []:
                continue
            if header:
                header = False
                continue
            fault = fault_of(record, dialect, len(names))
            if record.cells is None or fault:
                raise BadInput(
                    f"A record is no row of the table: {fault}",
                    code="record-ragged",
                    where=f"{file.name}, line {record.line}",
                    remedy="Correct the record: no row may be left out of the predictions.",
                )
            try:
                cells = [decode_cell(cell, encoding) for cell in record.cells[: len(names)]]
            except UnicodeDecodeError as error:
                raise BadInput(
                    f"A record is not valid {encoding}: {error}",
                    code="record-encoding",
                    where=f"{file.name}, line {record.line}",
                    remedy="Save the file as UTF-8.",
                ) from None
            yield record.line, cells

    return names, rows()


def file_blocks(file: Path) -> Iterator[bytes]:
    """Yield the file as it is, in blocks."""
    with file.open("rb") as source:
        while block := source.read(BLOCK_BYTES):
            yield block


def _blocks(file: Path) -> Iterator[bytes]:
    """Yield the file in blocks, inflated and in an encoding that extends ASCII."""
    with file.open("rb") as source:
        head = source.read(4096)
    blocks = file_blocks(file)
    yield from rewrite(blocks, max_bytes=MAX_FILE_BYTES) if needs_rewrite(head) else blocks
