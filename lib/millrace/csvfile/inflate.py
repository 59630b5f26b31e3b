"""What must be rewritten before it can be read in ranges: gzip, UTF-16 and UTF-32, streamed."""

from __future__ import annotations

import codecs
import itertools
import zlib
from collections.abc import Iterable, Iterator

from millrace.csvfile.encoding import byte_order_mark, wide_encoding
from millrace.errors import BadInput, TooLarge

__all__ = ["needs_rewrite", "rewrite"]

_GZIP = b"\x1f\x8b"
_STEP_BYTES = 1 << 20


def needs_rewrite(head: bytes) -> bool:
    """Return whether a file that begins so must go through :func:`rewrite` before it is read."""
    return head.startswith(_GZIP) or bool(wide_encoding(head))


def rewrite(blocks: Iterable[bytes], *, max_bytes: int) -> Iterator[bytes]:
    """Yield the file inflated and in UTF-8, in blocks of about 1 MiB, whatever the input's blocks.

    Parameters
    ----------
    blocks : iterable of bytes
        The file as uploaded.
    max_bytes : int
        Most bytes that the inflated file may have.

    Raises
    ------
    BadInput
        The gzip data is damaged or cut off, or the text is not valid in its encoding.
    TooLarge
        The file inflates to more than ``max_bytes``.
    """
    head, blocks = _peek(blocks)
    if head.startswith(_GZIP):
        blocks = _inflate(blocks, max_bytes)
        head, blocks = _peek(blocks)
    encoding = wide_encoding(head)
    if encoding:
        blocks = _transcode(blocks, encoding)
    yield from blocks


def _peek(blocks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first bytes, enough to tell the format by, and the blocks with them."""
    source = iter(blocks)
    head = b""
    for block in source:
        head += block
        if len(head) >= 4096:
            break
    return head, itertools.chain((head,), source)


def _inflate(blocks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    size = 0
    for out in _members(blocks):
        size += len(out)
        if size > max_bytes:
            raise TooLarge(
                f"The gzip file inflates to more than {max_bytes} bytes",
                code="inflated-too-large",
                remedy="Upload it in parts, or raise the stack's parameter MaxFileBytes.",
            )
        yield out


def _members(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what the gzip members hold, one after the other (RFC 1952), at most ``_STEP_BYTES`` at once."""
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
                out = inflater.decompress(data, _STEP_BYTES)
            except zlib.error as error:
                raise BadInput(
                    f"The gzip file is damaged ({error})",
                    code="gzip-damaged",
                    remedy="Compress it again, or upload it without compression.",
                ) from None
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            if out:
                yield out
    # All input is consumed, but some of its output may not have fitted into the last step.
    while not inflater.eof:
        out = inflater.decompress(b"", _STEP_BYTES)
        if not out:
            raise BadInput(
                "The gzip file is cut off: its end is missing",
                code="gzip-truncated",
                remedy="Upload it again; the upload or the compression did not finish.",
            )
        yield out


def _transcode(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    skip = -1
    try:
        for block in blocks:
            if skip < 0:
                skip = byte_order_mark(block)[1]
                block = block[skip:]
            text = decoder.decode(block)
            if text:
                yield text.encode()
        decoder.decode(b"", final=True)
    except UnicodeError as error:
        raise BadInput(
            f"The file is {encoding.upper()}, but a part of it is not ({error})",
            code="encoding-broken",
            remedy="Save it as UTF-8 and upload it again.",
        ) from None
