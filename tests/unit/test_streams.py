"""Each record of a stream has one outcome, whatever dies and however often it is delivered."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.errors import BadInput, TransientError
from millrace.streams import MAX_ID, Committed, Outcome, Source, commit, identity_of, publisher
from millrace.streams.commit import MAX_RECORD_BYTES
from tests.fakes import MemoryLedger, MemoryObjectStore, MemoryStream

SOURCE = Source("shardId-0", "1", "2026-11-20T10:00:00.000Z")


def outcome(name: str, value: int = 0) -> Outcome:
    return Outcome(name, {"id": name, "model": "m", "prediction": value})


class Stream:
    """The bucket, the ledger and the output stream, any call of which may be a worker's last."""

    def __init__(self) -> None:
        self.store, self.ledger, self.output = MemoryObjectStore("data"), MemoryLedger(), MemoryStream()
        self.dies_after: int | None = None
        self._keys = 0

    def commit(self, *outcomes: Outcome) -> Committed:
        self._keys += 1
        ledger: Any = Mortal(self.ledger, self._live)
        output: Any = Mortal(self.output, self._live)
        return commit(
            outcomes,
            f"streamed/{self._keys}",
            ledger=ledger,
            store=Mortal(self.store, self._live),  # type: ignore[arg-type]
            publish=publisher(ledger, "data", output),
        )

    def committed(self) -> list[str]:
        """Return the id of each line in the bucket."""
        return [
            json.loads(line)["id"]
            for key in self.store.list("streamed/")
            for line in self.store.get(key).splitlines()
        ]

    def _live(self) -> None:
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after < 0:
                raise TransientError("died", code="service-unavailable")


class Mortal:
    """Passes calls on, and dies before or after one."""

    def __init__(self, inner: Any, live: Callable[[], None]) -> None:
        self._inner, self._live = inner, live

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            self._live()
            result = found(*arguments, **options)
            self._live()
            return result

        return call


def test_a_batch_is_one_object_and_a_record_for_each_outcome() -> None:
    stream = Stream()
    assert stream.commit(outcome("a", 1), outcome("b", 2)) == Committed(2, 0, {})
    assert stream.store.get("streamed/1") == (
        b'{"id":"a","model":"m","prediction":1}\n{"id":"b","model":"m","prediction":2}\n'
    )
    assert [json.loads(data)["id"] for data, _, _ in stream.output.records] == ["a", "b"]
    assert len({hash_key for _, _, hash_key in stream.output.records}) == 2


def test_a_duplicate_has_no_second_effect_even_with_another_answer() -> None:
    stream = Stream()
    stream.commit(outcome("a", 1))
    assert stream.commit(outcome("a", 9), outcome("b"), outcome("b", 7)) == Committed(
        1, 2, {"a": "streamed/1"}
    )
    assert sorted(stream.committed()) == ["a", "b"]
    assert len(stream.output.records) == 2
    owners = {"a": "streamed/1", "b": "streamed/2"}
    assert stream.commit(outcome("a"), outcome("b")) == Committed(0, 2, owners)
    assert list(stream.store.list("streamed/")) == ["streamed/1", "streamed/2"]


def test_a_worker_that_died_before_it_wrote_is_overtaken_for_good() -> None:
    stream = Stream()
    stream.ledger.claim("a", "streamed/dead")
    assert stream.commit(outcome("a")) == Committed(1, 0, {})
    with pytest.raises(TransientError):  # it was not dead after all, and writes now
        commit(
            [outcome("a", 5), outcome("c")],
            "streamed/dead",
            ledger=stream.ledger,
            store=_Unclaimed(stream.store),
            publish=publisher(stream.ledger, "data", stream.output),
        )
    assert stream.commit(outcome("a", 5), outcome("c")) == Committed(1, 1, {"a": "streamed/1"})
    assert sorted(stream.committed()) == ["a", "c"]


class _Unclaimed(MemoryObjectStore):
    def __init__(self, inner: MemoryObjectStore) -> None:
        self.__dict__ = inner.__dict__


def test_an_outcome_too_long_for_a_record_is_named_there() -> None:
    stream = Stream()
    stream.commit(Outcome("a", {"id": "a", "model": "m", "version": 1, "text": "x" * MAX_RECORD_BYTES}))
    assert stream.committed() == ["a"]
    ((data, _, _),) = stream.output.records
    assert json.loads(data) == {"id": "a", "model": "m", "version": 1, "object": "s3://data/streamed/1"}


@settings(deadline=None, max_examples=200)
@given(
    names=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=10),
    deaths=st.lists(st.integers(0, 40), max_size=6),
    cuts=st.lists(st.integers(1, 5), min_size=1, max_size=4),
)
def test_whatever_dies_an_identity_stands_in_one_object(
    names: Sequence[str], deaths: Sequence[int], cuts: Sequence[int]
) -> None:
    stream = Stream()
    waiting, dying, turn = list(names), list(deaths), 0
    # What a mapping does: a batch that failed comes again, cut in another way, until it is done.
    while waiting:
        size = cuts[turn % len(cuts)]
        turn += 1
        stream.dies_after = dying.pop() if dying else None
        try:
            stream.commit(*(outcome(name, turn) for name in waiting[:size]))
        except TransientError:
            continue
        waiting = waiting[size:]
    assert Counter(stream.committed()) == Counter(set(names))
    sent = [data for data, _, _ in stream.output.records]
    assert {json.loads(data)["id"] for data in sent} == set(names)
    assert len(set(sent)) == len(set(names)), "what is repeated is the same to the byte"
    if not deaths:
        assert len(sent) == len(set(names))


def test_an_id_counts_within_its_model() -> None:
    assert identity_of("m", "7", SOURCE) == identity_of("m", 7, SOURCE)
    assert identity_of("m", "7", SOURCE)[1] != identity_of("n", "7", SOURCE)[1]
    shown, _ = identity_of("m", None, SOURCE)
    assert shown == "shardId-0:1"
    assert identity_of("m", shown, SOURCE)[1] != identity_of("m", None, SOURCE)[1]


@pytest.mark.parametrize("given", [True, 1.5, "", "x" * (MAX_ID + 1), [], {}])
def test_what_is_no_id_is_refused(given: Any) -> None:
    with pytest.raises(BadInput) as caught:
        identity_of("m", given, SOURCE)
    assert caught.value.code == "id-invalid"
