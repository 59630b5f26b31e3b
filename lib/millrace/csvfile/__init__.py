"""CSV files: dialect, record boundaries, records and rejects, in bounded memory.

The order of use: :func:`needs_rewrite` and :func:`rewrite` (gzip, UTF-16), :func:`sniff`,
:func:`find_chunks`, then :func:`read_records` or :func:`read_columns` for each chunk.
"""

from millrace.csvfile.boundaries import Boundaries, find_chunks
from millrace.csvfile.columns import TextColumns, read_columns
from millrace.csvfile.dialect import HEAD_BYTES, Sniffed, sniff
from millrace.csvfile.inflate import needs_rewrite, rewrite
from millrace.csvfile.reader import Record, Reject, decode_raw, read_records
from millrace.csvfile.records import MAX_RECORD_BYTES

__all__ = [
    "HEAD_BYTES",
    "MAX_RECORD_BYTES",
    "Boundaries",
    "Record",
    "Reject",
    "Sniffed",
    "TextColumns",
    "decode_raw",
    "find_chunks",
    "needs_rewrite",
    "read_columns",
    "read_records",
    "rewrite",
    "sniff",
]
