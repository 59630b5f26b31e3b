"""Decompressors as iterators of blocks: gzip, zstd, and a zip archive of one file, each in bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator

from millrace.errors import BadInput

__all__ = ["STEP_BYTES", "unpacker"]

STEP_BYTES = 1 << 20
"""Most bytes that are unpacked at once."""

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZIP = b"PK\x03\x04"
_ZIP_DIRECTORY = (b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06")
_ZIP_DESCRIPTOR = b"PK\x07\x08"
_ENCRYPTED, _SIZES_BEHIND = 1, 8
"""Flags of a zip archive's member (APPNOTE.TXT, 4.4.4)."""
_STORED, _DEFLATED = 0, 8

_DAMAGED = {"gzip": "gzip-damaged", "zstd": "zstd-damaged", "zip": "zip-damaged"}
_TRUNCATED = {"gzip": "gzip-truncated", "zstd": "zstd-truncated", "zip": "zip-truncated"}

Unpack = Callable[[Iterable[bytes]], Iterator[bytes]]


def unpacker(head: bytes) -> tuple[str, Unpack] | None:
    """Return the format's name, and what unpacks a file that begins so; None for a plain file."""
    for magic, name, unpack in ((_GZIP, "gzip", _gunzip), (_ZSTD, "zstd", _unzstd), (_ZIP, "zip", _unzip)):
        if head.startswith(magic):
            return name, unpack
    return None


def _damaged(name: str, error: object) -> BadInput:
    return BadInput(
        f"The {name} file is damaged ({error})",
        code=_DAMAGED[name],
        remedy="Compress it again, or upload it without compression.",
    )


def _truncated(name: str) -> BadInput:
    return BadInput(
        f"The {name} file is cut off: its end is missing",
        code=_TRUNCATED[name],
        remedy="Upload it again; the upload or the compression did not finish.",
    )


def _gunzip(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what the gzip members hold, one after the other (RFC 1952)."""
    inflater = zlib.decompressobj(wbits=31)
    for block in blocks:
        data = block
        while data:
            if inflater.eof:
                # Zero bytes after a member are padding (gzip's manual, "Tapes").
                data = data.lstrip(b"\0")
                if not data:
                    break
                inflater = zlib.decompressobj(wbits=31)
            try:
                out = inflater.decompress(data, STEP_BYTES)
            except zlib.error as error:
                raise _damaged("gzip", error) from None
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            if out:
                yield out
    # All input is consumed, but some of its output may not have fitted into the last step.
    while not inflater.eof:
        out = inflater.decompress(b"", STEP_BYTES)
        if not out:
            raise _truncated("gzip")
        yield out


def _unzstd(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what the zstd frames hold, one after the other (RFC 8878)."""
    # Imported here: few files are packed so. From Python 3.14 on it is compression.zstd.
    from backports import zstd

    inflater = zstd.ZstdDecompressor()
    for block in blocks:
        data = block
        while data or not (inflater.eof or inflater.needs_input):
            if inflater.eof:
                inflater = zstd.ZstdDecompressor()
            try:
                out = inflater.decompress(data, STEP_BYTES)
            except zstd.ZstdError as error:
                raise _damaged("zstd", error) from None
            data = inflater.unused_data if inflater.eof else b""
            if out:
                yield out
    if not inflater.eof:
        raise _truncated("zstd")


class _Source:
    """Blocks, to be read by the byte."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = b""

    def take(self, size: int) -> bytes:
        """Return as many bytes; fewer at the end."""
        while len(self._rest) < size:
            block = next(self._blocks, None)
            if block is None:
                break
            self._rest += block
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def some(self) -> bytes:
        """Return the bytes that are there; empty at the end."""
        taken, self._rest = self._rest, b""
        while not taken:
            block = next(self._blocks, None)
            if block is None:
                break
            taken = block
        return taken

    def give_back(self, data: bytes) -> None:
        self._rest = data + self._rest


def _unzip(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the one file of a zip archive (PKWARE's APPNOTE.TXT 6.3), read from its beginning.

    Folders, and what macOS adds, are passed over.
    """
    source = _Source(blocks)
    found = ""
    while True:
        magic = source.take(4)
        if magic in _ZIP_DIRECTORY:
            break
        if magic != _ZIP:
            raise _truncated("zip") if len(magic) < 4 else _damaged("zip", "no file begins where one should")
        header = source.take(26)
        if len(header) < 26:
            raise _truncated("zip")
        flags, method = int.from_bytes(header[2:4], "little"), int.from_bytes(header[4:6], "little")
        checksum, size = int.from_bytes(header[10:14], "little"), int.from_bytes(header[14:18], "little")
        name_size, extra_size = (int.from_bytes(header[at : at + 2], "little") for at in (22, 24))
        name = source.take(name_size).decode("utf-8", "replace")
        source.take(extra_size)
        passed_over = name.endswith("/") or name.startswith("__MACOSX/")
        if not passed_over:
            _check_member(name, found, flags, method)
            found = name
        seen = 0
        for out in _member(source, flags, method, size):
            seen = zlib.crc32(out, seen)
            if not passed_over:
                yield out
        if flags & _SIZES_BEHIND:
            checksum = _descriptor(source)
        if seen != checksum:
            raise _damaged("zip", "its checksum is another")
    if not found:
        raise BadInput(
            "The zip archive holds no file", code="zip-empty", remedy="Put one CSV file into the archive."
        )


def _check_member(name: str, found: str, flags: int, method: int) -> None:
    if name == "[Content_Types].xml" or name.startswith(("xl/", "_rels/")):
        raise BadInput(
            "The file is not CSV but an Excel workbook",
            code="file-binary",
            remedy="Save the table as CSV in UTF-8 and upload that.",
        )
    if found:
        raise BadInput(
            f"The zip archive holds several files, {found!r:.80} and {name!r:.80} among them",
            code="zip-several",
            remedy="Put one CSV file into the archive, or upload the files one by one.",
        )
    if flags & _ENCRYPTED:
        raise BadInput(
            "The zip archive is encrypted", code="zip-encrypted", remedy="Upload it without a password."
        )
    if method not in (_STORED, _DEFLATED) or (method == _STORED and flags & _SIZES_BEHIND):
        raise BadInput(
            f"The zip archive is packed by a method that cannot be read as it comes ({method})",
            code="zip-method",
            remedy="Make it again with the usual method, deflate.",
        )


def _member(source: _Source, flags: int, method: int, size: int) -> Iterator[bytes]:
    """Yield what one member holds."""
    if method == _STORED:
        while size:
            data = source.take(min(size, STEP_BYTES))
            if not data:
                raise _truncated("zip")
            size -= len(data)
            yield data
        return
    inflater = zlib.decompressobj(wbits=-15)
    while not inflater.eof:
        data = inflater.unconsumed_tail or source.some()
        try:
            out = inflater.decompress(data, STEP_BYTES)
        except zlib.error as error:
            raise _damaged("zip", error) from None
        if out:
            yield out
        elif not data:
            raise _truncated("zip")
    source.give_back(inflater.unused_data)


def _descriptor(source: _Source) -> int:
    """Return the checksum that stands behind a member, and step over the sizes, of 4 or 8 bytes each."""
    start = source.take(4)
    checksum = source.take(4) if start == _ZIP_DESCRIPTOR else start
    source.take(8)
    following = source.take(4)
    source.give_back(following)
    if following != _ZIP and following not in _ZIP_DIRECTORY:
        source.take(8)
    return int.from_bytes(checksum, "little")
