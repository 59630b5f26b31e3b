from __future__ import annotations

import gzip
import io
import random
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.csvfile import needs_rewrite, rewrite
from millrace.errors import BadInput, TooLarge
from tests.tables import CsvTable, blocks_of

TEXT = b"name,size\n" + b"".join(b"item %d,%d\n" % (i, i * i) for i in range(5000))


@given(st.integers(1, 5000))
@settings(max_examples=20, deadline=None)
def test_gzip_is_inflated_whatever_the_blocks(block_bytes: int) -> None:
    packed = gzip.compress(TEXT)
    assert needs_rewrite(packed)
    assert b"".join(rewrite(blocks_of(packed, block_bytes), max_bytes=1 << 24)) == TEXT


def test_several_members_and_padding_are_one_file() -> None:
    packed = gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:]) + bytes(512)
    assert b"".join(rewrite(blocks_of(packed, 100), max_bytes=1 << 24)) == TEXT


def test_inflated_utf16_comes_out_as_utf8() -> None:
    packed = gzip.compress("näme,size\nü,1\n".encode("utf-16"))
    assert b"".join(rewrite([packed], max_bytes=1 << 24)) == "näme,size\nü,1\n".encode()


def test_a_plain_file_needs_no_rewriting() -> None:
    assert not needs_rewrite(TEXT)
    assert b"".join(rewrite(blocks_of(TEXT, 1000), max_bytes=1 << 24)) == TEXT


@pytest.mark.parametrize("kept", [10, 11, 100, -1, -8], ids=str)
def test_a_truncated_gzip_is_refused(kept: int) -> None:
    with pytest.raises(BadInput) as caught:
        list(rewrite([gzip.compress(TEXT)[:kept]], max_bytes=1 << 24))
    assert caught.value.code == "gzip-truncated"
    assert "again" in caught.value.remedy


def test_damaged_gzip_is_refused() -> None:
    packed = bytearray(gzip.compress(TEXT))
    packed[200:220] = bytes(20)
    with pytest.raises(BadInput) as caught:
        list(rewrite([bytes(packed)], max_bytes=1 << 24))
    assert caught.value.code in ("gzip-damaged", "gzip-truncated")


def test_any_flipped_byte_of_the_data_is_noticed() -> None:
    packed = gzip.compress(TEXT, mtime=0)
    chosen = random.Random(7).sample(range(10, len(packed)), 50)
    for position in chosen:
        damaged = bytearray(packed)
        damaged[position] ^= 0x55
        with pytest.raises(BadInput):
            list(rewrite([bytes(damaged)], max_bytes=1 << 24))


def test_a_bomb_stops_at_the_limit_and_never_lies_in_memory() -> None:
    packed = gzip.compress(bytes(64 << 20))
    seen: list[int] = []

    def measured() -> Iterator[None]:
        for block in rewrite([packed], max_bytes=8 << 20):
            seen.append(len(block))
            yield

    with pytest.raises(TooLarge) as caught:
        list(measured())
    assert caught.value.code == "inflated-too-large"
    assert max(seen) <= 1 << 20
    assert sum(seen) <= 8 << 20


def test_half_a_character_at_the_end_of_utf16_is_refused() -> None:
    data = "a,b\n1,2\n".encode("utf-16")[:-1]
    with pytest.raises(BadInput) as caught:
        list(rewrite([data], max_bytes=1 << 24))
    assert caught.value.code == "encoding-broken"


def test_a_gzip_file_by_any_name_is_read() -> None:
    assert len(CsvTable.of(gzip.compress(TEXT)).cells) == 5000


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED, streamed: bool = False) -> bytes:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return not streamed

        def seek(self, *place: int) -> int:
            if streamed:
                raise io.UnsupportedOperation
            return super().seek(*place)

        def tell(self) -> int:
            if streamed:
                raise io.UnsupportedOperation
            return super().tell()

    out = Pipe()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return out.getvalue()


PACKED = {
    "zstd": zstd.compress(TEXT),
    "zstd-frames": zstd.compress(TEXT[:999]) + zstd.compress(TEXT[999:]),
    "zip": zipped(("folder/", b""), ("folder/a.csv", TEXT), ("__MACOSX/folder/._a.csv", b"\0\1")),
    "zip-stored": zipped(("a.csv", TEXT), method=zipfile.ZIP_STORED),
    "zip-streamed": zipped(("a.csv", TEXT), streamed=True),
}


@pytest.mark.parametrize("block_bytes", [1, 977, 1 << 20])
@pytest.mark.parametrize("kind", PACKED)
def test_zstd_and_a_zip_of_one_file_are_unpacked(kind: str, block_bytes: int) -> None:
    packed = PACKED[kind]
    assert needs_rewrite(packed)
    assert b"".join(rewrite(blocks_of(packed, block_bytes), max_bytes=1 << 24)) == TEXT


@pytest.mark.parametrize("kind", PACKED)
def test_what_is_cut_off_or_damaged_is_refused(kind: str) -> None:
    packed = PACKED[kind]
    name = kind.partition("-")[0]
    for kept in (45, len(packed) // 2):
        with pytest.raises(BadInput) as caught:
            list(rewrite(blocks_of(packed[:kept], 100), max_bytes=1 << 24))
        assert caught.value.code == f"{name}-truncated"
    half = len(packed) // 2
    with pytest.raises(BadInput) as caught:
        list(rewrite([packed[:half], bytes(20), packed[half + 20 :]], max_bytes=1 << 24))
    assert caught.value.code in (f"{name}-damaged", f"{name}-truncated")


@pytest.mark.parametrize("pack", [zstd.compress, gzip.compress, lambda data: zipped(("a.csv", data))])
def test_a_bomb_stops_early_with_its_own_error(pack: Any) -> None:
    bomb = pack(b"a,b\n" * (8 << 20))
    taken = 0
    with pytest.raises(TooLarge) as caught:
        for block in rewrite(blocks_of(bomb, 1 << 12), max_bytes=2 << 20):
            taken += len(block)
    assert caught.value.code == "inflated-too-large"
    assert taken <= 2 << 20


@pytest.mark.parametrize(
    ("packed", "code"),
    [
        (zipped(("a.csv", TEXT), ("b.csv", TEXT)), "zip-several"),
        (zipped(("[Content_Types].xml", b"<x/>"), ("xl/workbook.xml", b"<x/>")), "file-binary"),
        (zipped(("folder/", b"")), "zip-empty"),
        (zipped(("a.csv", TEXT), method=zipfile.ZIP_BZIP2), "zip-method"),
    ],
    ids=["several", "workbook", "empty", "method"],
)
def test_other_zip_archives_are_refused_with_their_reason(packed: bytes, code: str) -> None:
    with pytest.raises(BadInput) as caught:
        list(rewrite([packed], max_bytes=1 << 24))
    assert caught.value.code == code
    assert caught.value.remedy
