"""The ledger's contract, over the one in memory and over DynamoDB on moto."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws

from millrace.aws.ledger import DynamoLedger
from millrace.streams.ports import Ledger
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
def ledger(request: pytest.FixtureRequest, dynamodb: Any) -> Ledger:
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
    assert ledger.move("a", "one", "three") is False
    assert ledger.claim("a", "four") == "two"
    assert ledger.move("nobody", "one", "two") is False


def test_an_object_is_published_once_and_for_all(ledger: Ledger) -> None:
    assert ledger.published("one") is False
    ledger.mark_published("one")
    ledger.mark_published("one")
    assert ledger.published("one") is True
    assert ledger.published("two") is False


def test_an_identity_is_forgotten_after_its_time(dynamodb: Any) -> None:
    def at(seconds: float) -> DynamoLedger:
        return DynamoLedger("ledger", 3600, dynamodb, clock=lambda: NOW + seconds)

    at(0).claim("a", "one")
    assert at(3599).claim("a", "two") == "one"
    assert at(3601).claim("a", "two") == "two"
    item = dynamodb.get_item(TableName="ledger", Key={"pk": {"S": "identity#a"}})["Item"]
    assert item["expires_at"] == {"N": str(int(NOW) + 3601 + 3600)}
