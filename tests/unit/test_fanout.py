"""The fan-out protocol: descriptors, their places on the stream, completion and failure."""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.contracts import Descriptor, Parts, RunError
from millrace.errors import BadInput, TransientError
from millrace.fanout import (
    begin_pass,
    claim_chunk,
    complete_chunk,
    decode_descriptor,
    encode_descriptor,
    fail_pass,
    heartbeats,
    release_next,
    report_complete,
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


def begun(
    chunks: int, tickets: int, group_tickets: int = 0
) -> tuple[MemoryRunStore, MemoryStream, MemoryTasks]:
    runs, stream, tasks = MemoryRunStore(), MemoryStream(), MemoryTasks()
    runs.open(make_run())
    sizes = {"tickets": tickets, "group_tickets": group_tickets}
    begin_pass("cars-1", "profile", chunks=chunks, token="t", runs=runs, stream=stream, **sizes)
    return runs, stream, tasks


def work(record: bytes, runs: MemoryRunStore, stream: MemoryStream, tasks: MemoryTasks) -> int | None:
    """Take a record as a worker does whose result is there when the chunk is marked; return its chunk."""
    ticket = decode_descriptor(record)
    claimed, parts = claim_chunk(ticket, runs)
    if claimed is None:
        report_complete(ticket, parts, runs=runs, tasks=tasks)
        return None
    release_next(ticket, claimed.chunk, parts, stream)
    complete_chunk(claimed, runs=runs, tasks=tasks)
    return claimed.chunk


def numbers(stream: MemoryStream) -> list[int]:
    return [decode_descriptor(record).chunk for record in stream.take()]


@given(st.integers(1, 40), st.integers(0, 12), st.integers(0, 6), st.randoms(use_true_random=False))
def test_every_chunk_comes_once_and_no_more_tickets_go_round_than_were_asked_for(
    chunks: int, tickets: int, group_tickets: int, random: Random
) -> None:
    runs, stream, tasks = begun(chunks, tickets, group_tickets)
    waiting, seen = stream.take(), []
    while waiting:
        assert len(waiting) <= (tickets or chunks) or chunks == 1
        seen.append(work(waiting.pop(random.randrange(len(waiting))), runs, stream, tasks))
        waiting += stream.take()
    assert sorted(chunk for chunk in seen if chunk is not None) == list(range(chunks))
    assert len(seen) <= chunks + tickets
    assert tasks.answers["t"][0] == "success"


def test_whoever_is_free_takes_the_next_chunk() -> None:
    runs, stream, tasks = begun(6, 2)
    slow, quick = stream.take()
    assert claim_chunk(decode_descriptor(slow), runs)[0] == Descriptor("cars-1", "profile", 0, "t")
    for chunk in range(1, 6):
        assert work(quick, runs, stream, tasks) == chunk
        quick = (stream.take() or [b""])[0]
    assert work(slow, runs, stream, tasks) == 0
    assert stream.take() == [], "nothing is left to be claimed, so nothing follows"
    assert tasks.answers["t"][0] == "success"


@given(st.integers(2, 30), st.integers(1, 5), st.integers(0, 3))
def test_records_that_come_twice_do_not_multiply(chunks: int, tickets: int, group_tickets: int) -> None:
    runs, stream, tasks = begun(chunks, tickets, group_tickets)
    waiting, deliveries = stream.take(), 0
    while waiting:
        record = waiting.pop(0)
        for _ in range(2):
            work(record, runs, stream, tasks)
            deliveries += 1
        waiting += stream.take()
    assert deliveries <= 2 * (chunks + tickets)


def test_a_ticket_that_comes_again_has_the_chunk_that_it_had() -> None:
    runs, stream, tasks = begun(5, 1)
    (first,) = stream.take()
    claimed, parts = claim_chunk(decode_descriptor(first), runs)
    assert claimed is not None
    release_next(decode_descriptor(first), claimed.chunk, parts, stream)
    # And it dies before the chunk is marked. What it released comes before it does itself.
    again, following = stream.take()[0], first
    assert work(again, runs, stream, tasks) == 1
    assert work(following, runs, stream, tasks) == 0
    assert numbers(stream) == [2, 1], "one of them twice"


@pytest.mark.parametrize("group_tickets", [0, 1])
def test_a_pass_begun_again_has_new_tickets_for_what_is_not_done(group_tickets: int) -> None:
    runs, stream, tasks = begun(9, 3, group_tickets)
    sizes = {"tickets": 3, "group_tickets": group_tickets}
    old = stream.take()
    assert [work(record, runs, stream, tasks) for record in old] == [0, 1, 2]
    held = stream.take()[0]
    claimed, _ = claim_chunk(decode_descriptor(held), runs)
    assert claimed is not None
    assert claimed.chunk == 3
    begin_pass("cars-1", "profile", chunks=9, token="new", runs=runs, stream=stream, **sizes)
    assert work(held, runs, stream, tasks) is None, "its pass is over; the chunk is anybody's again"
    seen, waiting = [], stream.take()
    assert len(waiting) == 3
    while waiting:
        seen.append(work(waiting.pop(), runs, stream, tasks))
        waiting += stream.take()
    assert sorted(chunk for chunk in seen if chunk is not None) == [3, 4, 5, 6, 7, 8]
    assert list(tasks.answers) == ["new"]
    begin_pass("cars-1", "profile", chunks=9, token="newer", runs=runs, stream=stream, **sizes)
    assert [work(record, runs, stream, tasks) for record in stream.take()] == [None, None]
    assert tasks.answers["newer"][0] == "success", "somebody must answer the new token"


@pytest.mark.parametrize(
    ("chunks", "tickets", "group_tickets", "groups"),
    [(40, 30, 90, 0), (120, 179, 90, 0), (256, 192, 90, 2), (1000, 1920, 90, 21), (9, 6, 1, 6), (3, 6, 1, 3)],
)
def test_a_pass_has_groups_if_there_are_tickets_for_two(
    chunks: int, tickets: int, group_tickets: int, groups: int
) -> None:
    runs, stream, _ = begun(chunks, tickets, group_tickets)
    parts = runs.parts("cars-1", "profile")
    assert parts is not None
    assert parts.groups == groups
    put = Counter(decode_descriptor(record).group for record in stream.take())
    assert set(put) == (set(range(groups)) if groups else {None})
    assert max(put.values()) - min(put.values()) <= 1, "each group has as many tickets as the next"


def test_whoever_finds_no_chunk_left_in_a_complete_group_counts_it_and_reports() -> None:
    runs, stream, tasks = begun(6, 6, 3)
    spare, *others = stream.take()
    assert decode_descriptor(spare).group == 0

    def die() -> None:
        raise ZeroDivisionError

    runs.between_writes = die
    last: dict[int | None, bytes] = {}
    waiting = others
    while waiting:
        record = waiting.pop(0)
        try:
            work(record, runs, stream, tasks)
        except ZeroDivisionError:  # the group is complete, and the pass does not know
            last.setdefault(decode_descriptor(record).group, record)
        waiting += stream.take()
    assert set(last) == {0, 1}
    runs.between_writes = lambda: None
    assert work(spare, runs, stream, tasks) is None
    assert tasks.answers == {}, "the other group is not counted yet"
    work(last[1], runs, stream, tasks)
    assert tasks.answers["t"][0] == "success"
    del tasks.answers["t"]  # that one died before it could answer
    work(spare, runs, stream, tasks)
    assert tasks.answers["t"][0] == "success"


def test_a_ticket_without_a_chunk_reads_its_group_alone_until_that_is_complete() -> None:
    runs, stream, tasks = begun(6, 6, 3)
    tickets = stream.take()
    for ticket in tickets[:5:2]:
        claim_chunk(decode_descriptor(ticket), runs)
    asked: list[int | None] = []

    class Watched(MemoryRunStore):
        def parts(self, run_id: str, name: str, group: int | None = None) -> Parts | None:
            asked.append(group)
            return super().parts(run_id, name, group)

    watched = Watched()
    watched.__dict__.update(vars(runs))
    spare = encode_descriptor(replace(decode_descriptor(tickets[0]), chunk=6))
    assert work(spare, watched, stream, tasks) is None
    assert asked == [0]


class Died(Exception):
    """A worker is gone; the stream delivers its record again."""


@settings(deadline=None)
@given(
    st.integers(2, 24),
    st.integers(4, 20),
    st.sampled_from([0, 4, 5, 7]),
    st.integers(0, 3),
    st.integers(0, 2**32),
)
def test_whoever_dies_in_between_every_chunk_is_done_and_the_pass_is_reported_then(
    chunks: int, tickets: int, group_tickets: int, begins: int, seed: int
) -> None:
    runs, stream, tasks = begun(chunks, tickets, group_tickets)
    random, token, results, standing = Random(seed), "t", set[int](), True
    share = random.choice([0.0, 0.2, 0.6])

    def perhaps_die() -> None:
        if random.random() < share:
            raise Died

    runs.between_writes = perhaps_die

    def worker(record: bytes) -> None:
        ticket = decode_descriptor(record)
        claimed, parts = claim_chunk(ticket, runs)
        perhaps_die()
        if claimed is None:
            report_complete(ticket, parts, runs=runs, tasks=tasks)
            return
        results.add(claimed.chunk)
        perhaps_die()
        release_next(ticket, claimed.chunk, parts, stream)
        perhaps_die()
        before = dict(tasks.answers)
        complete_chunk(claimed, runs=runs, tasks=tasks)
        assert tasks.answers == before or results == set(range(chunks)), "reported too early"
        if tasks.answers != before and random.random() < share:  # it died before it could report
            tasks.answers = before
            raise Died

    waiting, held = stream.take(), list[Descriptor]()
    for _ in range(5_000):
        if not standing or (begins and random.random() < 0.1):
            # One worker has a chunk, and does not hear that its pass is over; the others do.
            held += [
                one
                for one, _ in (claim_chunk(decode_descriptor(record), runs) for record in waiting[:1])
                if one
            ]
            begins, token, standing, waiting = begins - standing, f"{token}+", False, []
            sizes = {"tickets": random.randint(4, 20), "group_tickets": random.choice([0, 4, 5, 7])}
            with suppress(Died):  # it is tried again, with another token
                begin_pass("cars-1", "profile", chunks=chunks, token=token, runs=runs, stream=stream, **sizes)
                standing = True
        if held and random.random() < 0.3:
            late = held.pop()
            results.add(late.chunk)
            with suppress(Died):
                complete_chunk(late, runs=runs, tasks=tasks)
        elif waiting:
            record = waiting.pop(random.randrange(len(waiting)))
            try:
                worker(record)
            except Died:
                waiting.append(record)
        waiting += stream.take()
        if standing and not waiting:
            break
    assert results == set(range(chunks))
    assert tasks.answers[token][0] == "success", "nobody is left to report"
    assert runs.parts_done("cars-1", "profile") == results
    assert runs.get("cars-1").progress["profile"].complete


@given(st.integers(1, 8), st.integers(1, 5))
def test_a_ticket_that_follows_goes_to_the_lane_of_the_one_before(shards: int, each: int) -> None:
    tickets = shards * each
    runs, stream, tasks = begun(3 * tickets + 1, tickets)
    width = 2**128 // shards
    places = {}
    while stream.records:
        records, stream.records = stream.records, []
        counts = [0] * shards
        for data, key, hash_key in records:
            counts[min(int(hash_key) // width, shards - 1)] += 1
            chain = decode_descriptor(data).chunk % tickets
            assert places.setdefault(chain, (key, hash_key)) == (key, hash_key)
            work(data, runs, stream, tasks)
        assert max(counts) - min(counts) <= 1
    assert len(set(places.values())) == tickets
