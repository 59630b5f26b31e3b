"""Kinesis: batches of 500, and only what failed is sent again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws

from millrace.aws.stream import TRIES, KinesisStream
from millrace.errors import Misconfigured, TransientError
from tests.moto_clients import moto_client


@pytest.fixture
def kinesis(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = moto_client("kinesis")
        client.create_stream(StreamName="chunks", ShardCount=2)
        yield client


def contents(kinesis: Any) -> list[list[bytes]]:
    """Return the data in each shard."""
    result = []
    for shard in kinesis.list_shards(StreamName="chunks")["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName="chunks", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records = kinesis.get_records(ShardIterator=iterator, Limit=10_000)["Records"]
        result.append([record["Data"] for record in records])
    return result


class Flaky:
    """Refuses every second record of a request, so many times."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.accepted: list[bytes] = []
        self.requests: list[int] = []

    def put_records(self, *, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:
        self.requests.append(len(Records))
        results: list[dict[str, str]] = []
        for number, record in enumerate(Records):
            if self.refusals and (number % 2 or len(Records) == 1):
                results.append({"ErrorCode": "ProvisionedThroughputExceededException"})
            else:
                self.accepted.append(record["Data"])
                results.append({"SequenceNumber": "1", "ShardId": "s"})
        self.refusals = max(0, self.refusals - 1)
        return {"FailedRecordCount": 1, "Records": results}


def test_puts_records_where_their_hash_key_says(kinesis: Any) -> None:
    low, high = "0", str(3 * 2**126)
    KinesisStream("chunks", kinesis).put([(b"a", "k1", low), (b"b", "k2", high), (b"c", "k3", low)])
    assert contents(kinesis) == [[b"a", b"c"], [b"b"]]


def test_sends_more_than_one_request_takes(kinesis: Any) -> None:
    KinesisStream("chunks", kinesis).put((b"%d" % n, str(n), "0") for n in range(1201))
    assert contents(kinesis)[0] == [b"%d" % n for n in range(1201)]


def test_sends_again_only_what_failed() -> None:
    flaky = Flaky(refusals=2)
    waits: list[float] = []
    KinesisStream("chunks", flaky, sleep=waits.append).put([(b"%d" % n, "k", "0") for n in range(8)])
    assert flaky.requests == [8, 4, 2]
    assert sorted(flaky.accepted) == [b"%d" % n for n in range(8)]
    assert len(waits) == 2
    assert 0 <= waits[0] <= 0.1 and 0 <= waits[1] <= 0.2


def test_gives_up_as_transient() -> None:
    flaky = Flaky(refusals=10**6)
    waits: list[float] = []
    with pytest.raises(TransientError, match="refuses 1 records"):
        KinesisStream("chunks", flaky, sleep=waits.append).put([(b"a", "k", "0")])
    assert len(flaky.requests) == TRIES


def test_a_stream_that_is_not_there_is_misconfigured(kinesis: Any) -> None:
    with pytest.raises(Misconfigured):
        KinesisStream("another", kinesis).put([(b"a", "k", "0")])
