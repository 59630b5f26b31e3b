"""The ledger's contract, over the one in memory and over DynamoDB on moto."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws

from millrace.aws.ledger import DynamoLedger
from millrace.streams.ports import Batch, Ledger
from tests.fakes import MemoryLedger
from tests.moto_clients import create_ledger_table, moto_client

NOW = 1_800_000_000.0


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = moto_client("dynamodb")
        create_ledger_table(client, "ledger")
        yield client


@pytest.fixture(params=["memory", "dynamodb"])
def ledger(request: pytest.FixtureRequest, dynamodb: Any) -> MemoryLedger | DynamoLedger:
    if request.param == "memory":
        return MemoryLedger()
    return DynamoLedger("ledger", 3600, dynamodb, clock=lambda: NOW)


def test_the_first_claim_counts(ledger: Ledger) -> None:
    assert ledger.claim("a", "one") == "one"
    assert ledger.claim("a", "two") == "one"
    assert ledger.claim("a", "one") == "one"
    assert ledger.claim("b", "two") == "two"


def test_an_identity_moves_from_where_it_is_only(ledger: Ledger) -> None:
    ledger.claim("a", "one")
    assert ledger.move("a", "two", "three") is False
    assert ledger.move("a", "one", "two") is True
    assert ledger.move("a", "one", "two") is True, "asked again, because the answer was lost"
    assert ledger.move("a", "one", "three") is False
    assert ledger.claim("a", "four") == "two"
    assert ledger.move("nobody", "one", "two") is False


def test_an_object_is_published_once_and_for_all(ledger: Ledger) -> None:
    assert ledger.published("one") is False
    ledger.mark_published("one")
    ledger.mark_published("one")
    assert ledger.published("one") is True
    assert ledger.published("two") is False


def batch(key: str, since: str = "2026-11-20T10:00:00.000Z", dataset: str = "cars") -> Batch:
    return Batch(key=key, dataset=dataset, rows=3, since=since, size_bytes=70)


def test_rows_wait_until_they_are_taken(ledger: MemoryLedger | DynamoLedger) -> None:
    later, first, other = batch("b", "2026-11-20T10:00:01.000Z"), batch("a"), batch("c", dataset="boats")
    for one in (later, first, other):
        ledger.mark_pending(one)
    assert ledger.pending("cars") == [first, later]
    assert ledger.published("a") is True
    ledger.take("a")
    assert ledger.pending("cars") == [later]
    ledger.mark_pending(first)  # by a worker that was slow: it counts once
    assert ledger.pending("cars") == [later]
    assert ledger.published("a") is True
    ledger.take("a")
    assert ledger.pending("boats") == [other]
    assert ledger.pending("trains") == []


def test_a_lease_has_one_holder_until_it_is_given_back(ledger: MemoryLedger | DynamoLedger) -> None:
    assert ledger.lease("retrain", "one", 60) is True
    assert ledger.lease("retrain", "two", 60) is False
    assert ledger.lease("retrain", "one", 60) is True
    ledger.release("retrain", "two")
    assert ledger.lease("retrain", "two", 60) is False
    assert ledger.lease("another", "two", 60) is True
    ledger.release("retrain", "one")
    assert ledger.lease("retrain", "two", 60) is True


def test_a_lease_ends_with_its_time(dynamodb: Any) -> None:
    def at(seconds: float) -> DynamoLedger:
        return DynamoLedger("ledger", 3600, dynamodb, clock=lambda: NOW + seconds)

    assert at(0).lease("retrain", "one", 60) is True
    assert at(59).lease("retrain", "two", 60) is False
    assert at(60).lease("retrain", "two", 60) is True


def test_what_waits_is_not_forgotten_and_what_was_taken_is(dynamodb: Any) -> None:
    ledger = DynamoLedger("ledger", 3600, dynamodb, clock=lambda: NOW)

    def item() -> dict[str, Any]:
        found: dict[str, Any] = dynamodb.get_item(TableName="ledger", Key={"pk": {"S": "object#a"}})["Item"]
        return found

    ledger.mark_pending(batch("a"))
    assert "expires_at" not in item()
    ledger.take("a")
    assert item()["expires_at"] == {"N": str(int(NOW) + 3600)}


def test_all_that_waits_is_found_page_by_page(dynamodb: Any) -> None:
    ledger = DynamoLedger("ledger", 3600, _Paged(dynamodb))
    for number in range(5):
        ledger.mark_pending(batch(f"k{number}", f"2026-11-20T10:00:0{number}.000Z"))
    assert [one.key for one in ledger.pending("cars")] == [f"k{number}" for number in range(5)]


class _Paged:
    """Answers queries two items at a time."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def query(self, **request: Any) -> Any:
        return self._inner.query(**request, Limit=2)


def test_an_identity_is_forgotten_after_its_time(dynamodb: Any) -> None:
    def at(seconds: float) -> DynamoLedger:
        return DynamoLedger("ledger", 3600, dynamodb, clock=lambda: NOW + seconds)

    at(0).claim("a", "one")
    assert at(3599).claim("a", "two") == "one"
    assert at(3601).claim("a", "two") == "two"
    item = dynamodb.get_item(TableName="ledger", Key={"pk": {"S": "identity#a"}})["Item"]
    assert item["expires_at"] == {"N": str(int(NOW) + 3601 + 3600)}
