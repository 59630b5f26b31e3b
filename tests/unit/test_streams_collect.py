"""Rows for a dataset: each record in one batch or among the rejects, whatever dies and however it comes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from millrace import keys
from millrace.errors import TransientError
from millrace.streams import Collected, Delivery, Source, collect, identity_of, publisher
from tests.fakes import MemoryLedger, MemoryObjectStore, MemoryStream
from tests.unit.test_streams import Mortal


def delivery(place: int, given: str | None, value: int = 0, *, rows: int = 1) -> Delivery:
    """Return a record; one with the value -1 is refused."""
    source = Source("shardId-0", str(place), f"2026-11-20T10:00:{place % 60:02d}.000Z")
    shown, identity = identity_of("dataset/cars", given, source)
    found = Delivery("cars", source, shown, identity, {"record": "e30=", "partition_key": "p"}, 3)
    if value < 0:
        return replace(found, error={"code": "value-type", "message": "no", "values": []})
    return replace(found, rows=[{"a": str(value)}] * rows)


class Dataset:
    """The bucket and the ledger, any call of which may be a worker's last."""

    def __init__(self) -> None:
        self.store, self.ledger = MemoryObjectStore("data"), MemoryLedger()
        self.dies_after: int | None = None
        self._names = 0

    def collect(self, *deliveries: Delivery) -> Collected:
        self._names += 1
        ledger: Any = Mortal(self.ledger, self._live)
        store: Any = Mortal(self.store, self._live)
        publish = publisher(ledger, "data", MemoryStream())
        return collect(deliveries, f"{self._names}.jsonl", ledger=ledger, store=store, publish=publish)

    def records(self) -> list[dict[str, Any]]:
        return self._lines(keys.collected_batch("cars", ""))

    def rejects(self) -> list[dict[str, Any]]:
        return self._lines(keys.collected_rejects("cars", ""))

    def counted(self) -> int:
        return sum(batch.rows for batch in self.ledger.pending("cars"))

    def _lines(self, prefix: str) -> list[dict[str, Any]]:
        texts = [self.store.get(key) for key in self.store.list(prefix)]
        return [json.loads(line) for text in texts for line in text.splitlines()]

    def _live(self) -> None:
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after < 0:
                raise TransientError("died", code="service-unavailable")


def test_a_batch_is_one_object_of_rows_and_one_of_rejects() -> None:
    dataset = Dataset()
    made = dataset.collect(delivery(1, "a", rows=2), delivery(2, "b", -1), delivery(3, None, 5))
    assert made == Collected(rows=3, repeated=0, refused=1)
    assert [record["id"] for record in dataset.records()] == ["a", "shardId-0:3"]
    assert dataset.records()[0]["rows"] == [{"a": "0"}, {"a": "0"}]
    (reject,) = dataset.rejects()
    assert (reject["id"], reject["error"]["code"], reject["record"]) == ("b", "value-type", "e30=")
    (batch,) = dataset.ledger.pending("cars")
    assert (batch.key, batch.rows) == (keys.collected_batch("cars", "1.jsonl"), 3)
    assert batch.since == "2026-11-20T10:00:01.000Z"


def test_what_is_delivered_again_changes_nothing() -> None:
    dataset = Dataset()
    batch = [delivery(1, "a"), delivery(2, "b", -1), delivery(3, None)]
    dataset.collect(*batch)
    before = dataset.records(), dataset.rejects()
    assert dataset.collect(*reversed(batch)) == Collected(rows=0, repeated=3, refused=0)
    assert (dataset.records(), dataset.rejects()) == before
    assert dataset.counted() == 2


def test_a_duplicate_is_refused_with_the_place_of_the_first() -> None:
    dataset = Dataset()
    assert dataset.collect(delivery(1, "a", 1), delivery(2, "a", 1)) == Collected(1, 0, 1)
    assert dataset.collect(delivery(3, "a", 9)) == Collected(0, 0, 1)
    assert [reject["error"]["code"] for reject in dataset.rejects()] == ["record-repeated", "id-taken"]
    assert all("shardId-0:1" in reject["error"]["message"] for reject in dataset.rejects())
    assert [record["rows"] for record in dataset.records()] == [[{"a": "1"}]]
    assert dataset.counted() == 1


def test_a_refused_record_may_come_again_corrected_under_its_id() -> None:
    dataset = Dataset()
    dataset.collect(delivery(1, "a", -1))
    assert dataset.collect(delivery(2, "a", 7)) == Collected(1, 0, 0)
    assert [record["id"] for record in dataset.records()] == ["a"]
    assert len(dataset.rejects()) == 1


def test_an_id_counts_within_its_dataset_and_apart_from_what_is_scored() -> None:
    source = Source("s", "1", "2026-11-20T10:00:00.000Z")
    identities = {identity_of(name, "7", source)[1] for name in ("cars", "dataset/cars", "dataset/boats")}
    assert len(identities) == 3


def test_a_refused_record_that_died_half_way_is_no_row_when_it_fits_the_next_time() -> None:
    """What a worker that died left in the place of rejects is finished as rejects, not counted as rows."""
    dataset = Dataset()
    dataset.dies_after = 5  # the reject is written, and not yet noted
    while True:
        try:
            dataset.collect(delivery(1, None, -1))
        except TransientError:
            if dataset.rejects():
                break
            dataset.dies_after = 6
    dataset.dies_after = None
    assert dataset.collect(delivery(1, None, 4)) == Collected(0, 1, 0)
    assert (len(dataset.rejects()), dataset.records(), dataset.counted()) == (1, [], 0)


RECORDS = [(place, given) for place, given in enumerate(["a", "b", "a", None, "c", "b", None, "d"], start=1)]


@settings(deadline=None, max_examples=150)
@given(
    order=st.permutations(RECORDS),
    repeats=st.lists(st.sampled_from(RECORDS), max_size=5),
    refused=st.sets(st.integers(1, 8), max_size=3),
    deaths=st.lists(st.integers(0, 60), max_size=6),
    cuts=st.lists(st.integers(1, 5), min_size=1, max_size=4),
)
def test_whatever_dies_every_record_is_in_one_place_and_counted_once(
    order: Sequence[tuple[int, str | None]],
    repeats: Sequence[tuple[int, str | None]],
    refused: set[int],
    deaths: Sequence[int],
    cuts: Sequence[int],
) -> None:
    dataset = Dataset()
    waiting = [
        delivery(place, given, -1 if place in refused else 1, rows=place)
        for place, given in [*order, *repeats]
    ]
    dying, turn = list(deaths), 0
    while waiting:  # as a mapping does: a batch that failed comes again, cut in another way
        size = cuts[turn % len(cuts)]
        turn += 1
        dataset.dies_after = dying.pop() if dying else None
        try:
            dataset.collect(*waiting[:size])
        except TransientError:
            continue
        waiting = waiting[size:]
    records, rejects = dataset.records(), dataset.rejects()
    places = [one["source"]["sequence"] for one in [*records, *rejects]]
    assert sorted(places) == [str(place) for place, _ in RECORDS], "each record is in one place"
    fitting = {given or place for place, given in RECORDS if place not in refused}
    assert len({record["identity"] for record in records}) == len(records) == len(fitting)
    assert dataset.counted() == sum(len(record["rows"]) for record in records)
