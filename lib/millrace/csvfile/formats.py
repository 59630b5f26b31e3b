"""What a file is when it is no CSV, told by its first bytes."""

from __future__ import annotations

import re

from millrace.csvfile.encoding import wide_encoding
from millrace.errors import BadInput

__all__ = ["refuse_other_formats"]

_FORMATS = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"PAR1", "a Parquet file"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"ARROW1", "an Arrow file"),
    (b"\x7fELF", "a program"),
)
_HTML = re.compile(rb"\s*(<!doctype|<html|<\?xml)", re.IGNORECASE)
_JSON = re.compile(rb'\s*(\{\s*["}]|\[\s*[\[{]|\[\s*"[^"]*"\s*,\s*\{)')
_CONTROL = bytes({*range(0x20)} - {0x01, *range(0x09, 0x0E), 0x1B, 0x1F})
"""Not 0x01, with which Hive delimits, nor 0x1f, ASCII's own delimiter."""
_MAX_CONTROL_SHARE = 0.05
_MAX_CONTROL = 8
"""Control characters are no part of text; a few may stand in damaged fields, more mean a binary file."""


def refuse_other_formats(head: bytes) -> None:
    """Raise :class:`BadInput` that says what the file is, unless it may be CSV."""
    remedy = "Save the table as CSV in UTF-8 and upload that."
    for magic, name in _FORMATS:
        if head.startswith(magic):
            raise BadInput(f"The file is not CSV but {name}", code="file-binary", remedy=remedy)
    if wide_encoding(head):
        raise ValueError("UTF-16 and UTF-32 go through rewrite() first")
    if len(head) - len(head.translate(None, _CONTROL)) > max(_MAX_CONTROL, _MAX_CONTROL_SHARE * len(head)):
        raise BadInput("The file is binary, not text", code="file-binary", remedy=remedy)
    if _HTML.match(head):
        raise BadInput("The file is not CSV but HTML or XML", code="file-markup", remedy=remedy)
    if _JSON.match(head):
        raise BadInput("The file is not CSV but JSON", code="file-json", remedy=remedy)
