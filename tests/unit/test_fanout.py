"""The fan-out protocol: descriptors, their places on the stream, completion and failure."""

from __future__ import annotations

import json
import threading
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts import Descriptor, RunError
from millrace.errors import BadInput, TransientError
from millrace.fanout import (
    begin_pass,
    complete_chunk,
    decode_descriptor,
    encode_descriptor,
    fail_pass,
    heartbeats,
    release_next,
    spread,
)
from tests.fakes import MemoryRunStore, MemoryStream, MemoryTasks, make_run


def descriptors(count: int, token: str = "token") -> list[Descriptor]:
    return [Descriptor("cars-1", "profile", number, token) for number in range(count)]


@given(st.text(), st.sampled_from(["profile", "convert"]), st.integers(0, 10**6), st.text())
def test_a_descriptor_survives_the_wire(run_id: str, pass_name: str, chunk: int, token: str) -> None:
    descriptor = Descriptor(run_id, pass_name, chunk, token)  # type: ignore[arg-type]
    assert decode_descriptor(encode_descriptor(descriptor)) == descriptor


@pytest.mark.parametrize("data", [b"", b"no json", b"[]", b"{}", b'{"run_id": 1}', b"\xff"])
def test_what_is_no_descriptor_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput):
        decode_descriptor(data)


@given(st.integers(1, 300), st.integers(1, 16))
def test_chunks_spread_evenly_over_any_number_of_shards(chunks: int, shards: int) -> None:
    width = 2**128 // shards
    counts = [0] * shards
    for _, _, hash_key in spread(descriptors(chunks)):
        assert 0 <= int(hash_key) < 2**128
        counts[min(int(hash_key) // width, shards - 1)] += 1
    assert max(counts) - min(counts) <= 1


def test_each_chunk_has_a_partition_key_of_its_own() -> None:
    records = spread(descriptors(50)) + spread([Descriptor("cars-1", "convert", 0, "t")])
    assert len({partition_key for _, partition_key, _ in records}) == 51


def test_the_set_stands_before_the_first_descriptor() -> None:
    runs, stream = MemoryRunStore(), MemoryStream(failures=[TransientError("full", code="full")])
    with pytest.raises(TransientError):
        begin_pass("cars-1", "profile", chunks=2, token="t", runs=runs, stream=stream)
    assert not runs.complete_part("cars-1", "profile", 0).complete
    assert stream.records == []


def test_the_last_chunk_ends_the_task_once() -> None:
    runs, stream, tasks = MemoryRunStore(), MemoryStream(), MemoryTasks()
    begin_pass("cars-1", "profile", chunks=3, token="t", runs=runs, stream=stream)
    for number, record in enumerate(stream.take(), start=1):
        progress = complete_chunk(decode_descriptor(record), runs=runs, tasks=tasks)
        assert progress.done == number
        assert ("t" in tasks.answers) is (number == 3)
    assert json.loads(tasks.answers["t"][1]) == {"run_id": "cars-1", "pass_name": "profile", "chunks": 3}


def test_a_replay_of_any_chunk_of_a_complete_set_answers_again() -> None:
    runs, tasks = MemoryRunStore(), MemoryTasks()
    runs.start_pass("cars-1", "profile", total=2, token="token")
    runs.complete_part("cars-1", "profile", 0)
    runs.complete_part("cars-1", "profile", 1)  # and its worker dies before it answers
    complete_chunk(descriptors(2)[0], runs=runs, tasks=tasks)
    assert tasks.answers["token"][0] == "success"
    complete_chunk(descriptors(2)[1], runs=runs, tasks=tasks)
    assert tasks.late == ["token"]


def test_a_pass_begun_again_is_answered_by_its_new_token() -> None:
    runs, stream, tasks = MemoryRunStore(), MemoryStream(), MemoryTasks()
    begin_pass("cars-1", "profile", chunks=2, token="old", runs=runs, stream=stream)
    first, second = stream.take()
    complete_chunk(decode_descriptor(first), runs=runs, tasks=tasks)
    begin_pass("cars-1", "profile", chunks=2, token="new", runs=runs, stream=stream)
    complete_chunk(decode_descriptor(second), runs=runs, tasks=tasks)  # still the old descriptor
    assert list(tasks.answers) == ["new"]


def test_failing_a_pass_speaks_as_lambda_does() -> None:
    tasks = MemoryTasks()
    assert fail_pass("t", RunError("BadInput", "quotes-open", "Why.", "profile"), tasks=tasks)
    kind, error, cause = tasks.answers["t"]
    assert (kind, error) == ("failure", "BadInput")
    assert json.loads(cause) == {
        "errorType": "BadInput",
        "errorMessage": "Why.",
        "code": "quotes-open",
        "stage": "profile",
    }
    assert not fail_pass("t", RunError("BadInput", "c", "m"), tasks=tasks)


class Beats:
    """Takes heartbeats until so many have come; then says that nobody waits, or fails."""

    def __init__(self, wanted: int, error: TransientError | None = None) -> None:
        self.count = 0
        self.enough = threading.Event()
        self._wanted = wanted
        self._error = error

    def heartbeat(self, token: str) -> bool:
        self.count += 1
        if self.count >= self._wanted:
            self.enough.set()
            if self._error is None:
                return False
        if self._error is not None:
            raise self._error
        return True

    def succeed(self, token: str, output: object) -> bool:
        raise AssertionError("only heartbeats are expected")

    fail = succeed


def test_heartbeats_come_at_once_and_go_on() -> None:
    beats = Beats(wanted=4)
    with heartbeats("t", every_s=0.001, tasks=beats) as state:  # type: ignore[arg-type]
        assert state.wanted
        assert beats.enough.wait(10)
    assert not state.wanted
    assert beats.count == 4, "nobody waits any more, so the beating stops by itself"


def test_heartbeats_end_with_the_work() -> None:
    tasks = MemoryTasks()
    with pytest.raises(ZeroDivisionError), heartbeats("t", every_s=3600, tasks=tasks):
        raise ZeroDivisionError
    assert tasks.heartbeats == ["t"]
    assert not any(thread.name == "heartbeats" for thread in threading.enumerate())


def test_a_heartbeat_that_fails_does_not_stop_the_work(caplog: pytest.LogCaptureFixture) -> None:
    beats = Beats(wanted=3, error=TransientError("no", code="no"))
    with heartbeats("t", every_s=0.001, tasks=beats) as state:  # type: ignore[arg-type]
        assert beats.enough.wait(10)
    assert state.wanted
    assert state.missed >= 3
    assert "A heartbeat was not taken, 3 so far" in caplog.text


def windowed(chunks: int, window: int) -> tuple[MemoryRunStore, MemoryStream, MemoryTasks]:
    runs, stream, tasks = MemoryRunStore(), MemoryStream(), MemoryTasks()
    runs.open(make_run())
    begin_pass("cars-1", "profile", chunks=chunks, token="t", runs=runs, stream=stream, window=window)
    return runs, stream, tasks


def work(record: bytes, runs: MemoryRunStore, stream: MemoryStream, tasks: MemoryTasks) -> int:
    """Take a chunk as a worker does whose result is there when the chunk is marked; return its number."""
    descriptor = decode_descriptor(record)
    replayed = descriptor.chunk in runs.parts_done("cars-1", "profile")
    release_next(descriptor, replayed=replayed, runs=runs, stream=stream)
    complete_chunk(descriptor, runs=runs, tasks=tasks)
    return descriptor.chunk


@given(st.integers(1, 40), st.integers(0, 12), st.randoms(use_true_random=False))
def test_every_chunk_comes_once_and_no_more_than_the_window_wait(
    chunks: int, window: int, random: Random
) -> None:
    runs, stream, tasks = windowed(chunks, window)
    waiting, seen = stream.take(), []
    while waiting:
        assert len(waiting) <= (window or chunks)
        seen.append(work(waiting.pop(random.randrange(len(waiting))), runs, stream, tasks))
        waiting += stream.take()
    assert sorted(seen) == list(range(chunks))
    assert tasks.answers["t"][0] == "success"


@given(st.integers(2, 30), st.integers(1, 5))
def test_records_that_come_twice_do_not_multiply(chunks: int, window: int) -> None:
    runs, stream, tasks = windowed(chunks, window)
    waiting, deliveries = stream.take(), 0
    while waiting:
        record = waiting.pop(0)
        for _ in range(2):
            work(record, runs, stream, tasks)
            deliveries += 1
        waiting += stream.take()
    assert deliveries == 2 * chunks


def test_a_worker_that_dies_before_its_mark_releases_again() -> None:
    runs, stream, tasks = windowed(5, 1)
    (first,) = stream.take()
    descriptor = decode_descriptor(first)
    release_next(descriptor, replayed=False, runs=runs, stream=stream)  # and it dies
    assert work(first, runs, stream, tasks) == 0
    assert [decode_descriptor(record).chunk for record in stream.take()] == [1, 1]


def test_a_pass_begun_again_goes_on_with_each_open_chunk_that_follows_a_done_one() -> None:
    runs, stream, _ = windowed(9, 3)
    stream.take()
    for chunk in (0, 3, 4, 7):  # 1 let 4 follow, and its worker died before it was marked
        runs.complete_part("cars-1", "profile", chunk)
    begin_pass("cars-1", "profile", chunks=9, token="new", runs=runs, stream=stream, window=3)
    assert [decode_descriptor(record).chunk for record in stream.take()] == [1, 2, 6]
    runs.complete_part("cars-1", "profile", 8)  # and 2, though 8 was let follow
    begin_pass("cars-1", "profile", chunks=12, token="new", runs=runs, stream=stream, window=3)
    assert [decode_descriptor(record).chunk for record in stream.take()] == [1, 2, 6, 10, 11]
    for chunk in range(9):
        runs.complete_part("cars-1", "profile", chunk)
    begin_pass("cars-1", "profile", chunks=9, token="newer", runs=runs, stream=stream, window=3)
    assert len(stream.take()) == 1, "somebody must answer the new token"


@given(st.integers(1, 8), st.integers(1, 5))
def test_a_chunk_that_follows_goes_to_the_shard_of_the_one_before(shards: int, each: int) -> None:
    window = shards * each
    runs, stream, tasks = windowed(3 * window + 1, window)
    width = 2**128 // shards
    while stream.records:
        records, stream.records = stream.records, []
        counts = [0] * shards
        for data, _, hash_key in records:
            counts[min(int(hash_key) // width, shards - 1)] += 1
            work(data, runs, stream, tasks)
        assert max(counts) - min(counts) <= 1
