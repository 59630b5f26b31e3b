"""Which encoding the bytes are in, from evidence that is gathered range by range and added up.

UTF-8 is told from a single-byte encoding by its own redundancy: text in another encoding is hardly ever
valid UTF-8 by chance. What is not UTF-8 is read as Windows-1252, and the run says so, unless its bytes do
not look like Western text: Chinese or Cyrillic read as Windows-1252 would be nonsense that trains.
"""

from __future__ import annotations

import codecs
import ctypes
import functools
import re
from dataclasses import dataclass

from millrace.csvfile import kernel
from millrace.csvfile.records import count_lines
from millrace.errors import BadInput

__all__ = ["Evidence", "Tally", "weigh", "wide_encoding"]

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_HIGH_RUN = re.compile(rb"[\x80-\xff]{2,}")
_HIGH = re.compile(rb"[\x80-\xff]")
_RARE = re.compile(rb"[\x81-\x84\x86-\x89\x8b-\x8d\x8f\x90\x98\x9b\x9d]")
"""Bytes that Windows-1252 leaves without a character, or gives to one that tables hardly ever hold, such
as daggers and low quotes; in Shift JIS they begin every other character."""
_DAMAGE = re.compile(rb"[\x81\x8d\x8f\x90\x9d\xff]")
"""Bytes without a character, and the letter ÿ, which text hardly ever has and damaged files often do."""

_NEAR_BYTES = 3
"""The most that a character lies on either side of a place."""


def byte_order_mark(head: bytes) -> tuple[str, int]:
    """Return encoding and length of the byte-order mark; ``("", 0)`` if there is none."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name, len(mark)
    return "", 0


def wide_encoding(head: bytes) -> str:
    """Return ``utf-16-le`` and the like when the bytes are UTF-16 or UTF-32, else the empty string.

    Without a byte-order mark it is UTF-16 when nearly every other byte is NUL, as in Western text, and
    hardly any of the others.
    """
    marked, _ = byte_order_mark(head)
    if marked:
        return "" if marked == "utf-8" else marked
    even, odd = head[0::2].count(0), head[1::2].count(0)
    half = len(head) // 2
    if half >= 2 and max(even, odd) > 0.7 * half and min(even, odd) < 0.05 * half:
        return "utf-16-be" if even > odd else "utf-16-le"
    return ""


@dataclass(frozen=True)
class Tally:
    """What the bytes of a range say about their encoding; a character belongs where it begins.

    Attributes
    ----------
    valid : int
        Characters beyond ASCII that are valid UTF-8.
    invalid : int
        Bytes that are not part of valid UTF-8.
    first_invalid : int
        Where in the range the first such byte is; -1 if there is none.
    high, in_runs, rare, damage : int
        Bytes beyond ASCII, those with another one beside them, and those of two kinds.
    """

    valid: int = 0
    invalid: int = 0
    first_invalid: int = -1
    high: int = 0
    in_runs: int = 0
    rare: int = 0
    damage: int = 0


def weigh(data: bytes, start: int, end: int) -> Tally:
    """Count the bytes and characters of ``data[start:end]``; 3 bytes on either side are looked at, too."""
    library = kernel.library()
    if library is not None:
        found = kernel.Tally()
        library.csv_weigh(data, len(data), start, end, _kinds(), ctypes.byref(found))
        first = found.first_invalid
        counts = (found.high, found.in_runs, found.rare, found.damage)
        return Tally(found.valid, found.invalid, first - start if first >= 0 else -1, *counts)
    part = data[start:end]
    if part.isascii():
        return Tally()
    # From the character that lies across the begin to the one that lies across the end.
    before = next((k for k in range(1, min(3, start) + 1) if _length(data, start - k) > k), 0)
    own = start - before + _length(data, start - before) if before else start
    last = next((k for k in range(1, min(3, end - own) + 1) if _length(data, end - k) > k), 0)
    text = data[own : end - last + _length(data, end - last) if last else end].decode(
        "utf-8", "surrogateescape"
    )
    beyond = len(text) - len(text.encode("ascii", "ignore"))
    invalid = len(text) - len(text.encode("utf-8", "ignore").decode())
    first = -1
    if invalid:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            first = own - start + len(text[: error.start].encode())
    near = data[max(start - 1, 0) : end + 1]
    shift = min(start, 1)
    in_runs = sum(
        min(run.end() - shift, end - start) - max(run.start() - shift, 0) for run in _HIGH_RUN.finditer(near)
    )
    return Tally(
        beyond - invalid,
        invalid,
        first,
        len(_HIGH.findall(part)),
        in_runs,
        len(_RARE.findall(part)),
        len(_DAMAGE.findall(part)),
    )


def _length(data: bytes, at: int) -> int:
    """Return how many bytes the character has that begins at ``at``; 0 where none does."""
    for length in (1, 2, 3, 4):
        try:
            return len(data[at : at + length].decode()) and length
        except UnicodeDecodeError:
            continue
    return 0


@functools.cache
def _kinds() -> bytes:
    """Return what the kernel is told of each byte: 1 for a rare one, 2 for a sign of damage."""
    return bytes(
        bool(_RARE.match(bytes((byte,)))) | bool(_DAMAGE.match(bytes((byte,)))) << 1 for byte in range(256)
    )


class Evidence:
    """What the bytes of a file say about their encoding, its ranges added up.

    Attributes
    ----------
    valid : int
        Characters beyond ASCII that are valid UTF-8.
    invalid : int
        Bytes that are not part of valid UTF-8.
    first_line : int
        Line, from 1, of the first such byte; 0 if there is none.
    """

    def __init__(self) -> None:
        self.valid = 0
        self.invalid = 0
        self.first_line = 0
        self._high = 0
        self._in_runs = 0
        self._rare = 0
        self._damage = 0
        self._lines = 0
        self._held = b""
        self._counted = 0

    def add(self, block: bytes, *, final: bool = False) -> None:
        """Take the next block into account; ``final`` when the text ends with it."""
        data = self._held + block
        start = self._counted
        end = len(data) if final else max(start, len(data) - _NEAR_BYTES)
        tally = weigh(data, start, end)
        before = count_lines(data, start, start + max(tally.first_invalid, 0))
        self.add_tally(tally, 1 + self._lines + before)
        self._lines += count_lines(data, start, end)
        self._held = data[max(end - _NEAR_BYTES, 0) :]
        self._counted = min(end, _NEAR_BYTES)

    def add_tally(self, tally: Tally, first_line: int) -> None:
        """Take the next range into account, of which the first invalid byte is in ``first_line``."""
        if tally.invalid and not self.invalid:
            self.first_line = first_line
        self.valid += tally.valid
        self.invalid += tally.invalid
        self._high += tally.high
        self._in_runs += tally.in_runs
        self._rare += tally.rare
        self._damage += tally.damage

    def decide(self) -> tuple[str, str]:
        """Return the encoding, and a note for people when it is not plainly UTF-8.

        Raises
        ------
        BadInput
            The bytes are neither UTF-8 nor Western text in a single-byte encoding.
        """
        if not self.invalid:
            return "utf-8", ""
        # Accents stand alone among ASCII letters; the letters of other scripts stand side by side.
        elsewhere = self._in_runs > 0.5 * self._high or self._rare > 0.2 * self._high
        if self.valid < self.invalid and self._high >= 4 and elsewhere:
            raise BadInput(
                "The file is neither UTF-8 nor Windows-1252; perhaps GB 18030, Shift JIS, Big5 or a Cyrillic "
                "encoding",
                code="encoding-unknown",
                where=f"line {self.first_line}",
                remedy="Save it as UTF-8 and upload it again.",
            )
        if self.valid >= self.invalid or self._damage >= 0.5 * self.invalid:
            return "utf-8", (
                f"The file is UTF-8, but {self.invalid} of its bytes are not (the first in line "
                f"{self.first_line}): the records with them are rejected."
            )
        return "cp1252", (
            f"The file is not UTF-8 ({self.invalid} bytes, the first in line {self.first_line}): it is read "
            "as Windows-1252. If letters look wrong, save it as UTF-8 and upload it again."
        )
