from __future__ import annotations

import gzip
import random
from collections.abc import Iterator

import pytest
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
