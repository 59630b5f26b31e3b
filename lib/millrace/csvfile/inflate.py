"""What must be rewritten before it can be read in ranges: gzip, zstd, zip, UTF-16 and UTF-32, streamed."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterable, Iterator

from millrace.csvfile.encoding import byte_order_mark, wide_encoding
from millrace.csvfile.unpack import unpacker
from millrace.errors import BadInput, TooLarge

__all__ = ["needs_rewrite", "rewrite"]


def needs_rewrite(head: bytes) -> bool:
    """Return whether a file that begins so must go through :func:`rewrite` before it is read."""
    return unpacker(head) is not None or bool(wide_encoding(head))


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
        The packed data is damaged or cut off, a zip archive holds several files, or the text is not valid
        in its encoding.
    TooLarge
        The file inflates to more than ``max_bytes``.
    """
    head, blocks = _peek(blocks)
    packed = unpacker(head)
    if packed:
        name, unpack = packed
        blocks = _bounded(unpack(blocks), name, max_bytes)
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


def _bounded(blocks: Iterable[bytes], name: str, max_bytes: int) -> Iterator[bytes]:
    size = 0
    for out in blocks:
        size += len(out)
        if size > max_bytes:
            raise TooLarge(
                f"The {name} file inflates to more than {max_bytes} bytes",
                code="inflated-too-large",
                remedy="Upload it in parts, or raise the stack's parameter MaxFileBytes.",
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
