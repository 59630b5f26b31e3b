"""CSV files: dialect, record boundaries, records and rejects, in bounded memory.

The order of use: :func:`needs_rewrite` and :func:`rewrite` (gzip, UTF-16), :func:`sniff`,
:func:`find_chunks`, then :func:`read_records` or :func:`read_columns` for each chunk. Large files are cut in
parallel: :func:`ranges_of`, :func:`scan_range` for each range, :func:`compose`.
"""

from millrace.csvfile.boundaries import (
    Body,
    Boundaries,
    RangeReader,
    StreamScan,
    body_of,
    compose,
    find_chunks,
    ranges_of,
)
from millrace.csvfile.columns import TextColumns, read_columns
from millrace.csvfile.dialect import HEAD_BYTES, Sniffed, sniff
from millrace.csvfile.inflate import needs_rewrite, rewrite
from millrace.csvfile.reader import Record, Reject, decode_raw, read_records
from millrace.csvfile.records import MAX_RECORD_BYTES
from millrace.csvfile.scan import CONTEXT_BYTES, RangeScan, entries, scan_range

__all__ = [
    "CONTEXT_BYTES",
    "HEAD_BYTES",
    "MAX_RECORD_BYTES",
    "Body",
    "Boundaries",
    "RangeReader",
    "RangeScan",
    "Record",
    "Reject",
    "Sniffed",
    "StreamScan",
    "TextColumns",
    "body_of",
    "compose",
    "decode_raw",
    "entries",
    "find_chunks",
    "needs_rewrite",
    "ranges_of",
    "read_columns",
    "read_records",
    "rewrite",
    "scan_range",
    "sniff",
]
