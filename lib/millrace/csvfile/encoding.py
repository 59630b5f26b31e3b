"""Which encoding the bytes are in, from evidence that is gathered block by block.

UTF-8 is told from a single-byte encoding by its own redundancy: text in another encoding is hardly ever
valid UTF-8 by chance. What is not UTF-8 is read as Windows-1252, and the run says so, unless its bytes do
not look like Western text: Chinese or Cyrillic read as Windows-1252 would be nonsense that trains.
"""

from __future__ import annotations

import codecs
import re

from millrace.errors import BadInput

__all__ = ["Evidence", "wide_encoding"]

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


class Evidence:
    """What the bytes seen so far say about their encoding.

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
        self._line_feeds = 0
        self._returns = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def add(self, block: bytes, *, final: bool = False) -> None:
        """Take the next block into account; ``final`` when the text ends with it."""
        if not block.isascii() or self._decoder.getstate()[0] or final:
            self._weigh(self._decoder.decode(block, final))
        if self.invalid:
            self._high += len(_HIGH.findall(block))
            self._in_runs += sum(map(len, _HIGH_RUN.findall(block)))
            self._rare += len(_RARE.findall(block))
            self._damage += len(_DAMAGE.findall(block))
        else:
            self._line_feeds += block.count(b"\n")
            self._returns += block.count(b"\r")

    def _weigh(self, text: str) -> None:
        beyond = len(text) - len(text.encode("ascii", "ignore"))
        try:
            text.encode()
        except UnicodeEncodeError as error:
            escaped = len(text) - len(text.encode("utf-8", "ignore").decode())
            if not self.invalid:
                before = text[: error.start]
                breaks = max(self._line_feeds + before.count("\n"), self._returns + before.count("\r"))
                self.first_line = breaks + 1
            self.invalid += escaped
            beyond -= escaped
        self.valid += beyond

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
