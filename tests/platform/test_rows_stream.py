"""Rows on the stream, the whole way: each record scored once, into the bucket and onto the other stream."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from millrace import keys
from tests.infra.template import ROOT
from tests.platform.stack import WAIT_S, Stack
from tests.platform.test_score import table

MODEL = "penguins"


class Streams:
    """The two streams and the bucket, as a producer and a consumer see them."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._kinesis = stack.platform.client("kinesis")

    def put(self, *records: Any) -> list[str]:
        """Put records on ``rows``; return their sequence numbers."""
        answer = self._kinesis.put_records(
            StreamName=self._stack.outputs["RowsStreamName"],
            Records=[
                {
                    "Data": record if isinstance(record, bytes) else json.dumps(record).encode(),
                    "PartitionKey": "one",
                }
                for record in records
            ],
        )
        assert answer["FailedRecordCount"] == 0
        return [one["SequenceNumber"] for one in answer["Records"]]

    def sent(self) -> list[dict[str, Any]]:
        """Return all that is on ``scored``."""
        name = self._stack.outputs["ScoredStreamName"]
        found = []
        for shard in self._kinesis.list_shards(StreamName=name)["Shards"]:
            iterator = self._kinesis.get_shard_iterator(
                StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            found += self._kinesis.get_records(ShardIterator=iterator, Limit=10_000)["Records"]
        return [json.loads(record["Data"]) for record in found]

    def kept(self) -> list[dict[str, Any]]:
        """Return every line below ``streamed/``."""
        listed = self._stack.s3.list_objects_v2(Bucket=self._stack.data_bucket, Prefix="streamed/")
        lines = []
        for item in listed.get("Contents", []):
            uri = f"s3://{self._stack.data_bucket}/{item['Key']}"
            lines += [json.loads(line) for line in self._stack.fetch(uri).splitlines()]
        return lines

    def wait(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not done():
            assert time.monotonic() < deadline, what
            time.sleep(0.2)


@pytest.fixture(scope="module")
def streams(stack: Stack, penguins: dict[str, Any]) -> Streams:
    return Streams(stack)


def of(prefix: str, outcomes: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the outcomes whose id begins so, by id."""
    found: dict[str, list[dict[str, Any]]] = {}
    for outcome in outcomes:
        if outcome["id"].startswith(prefix):
            found.setdefault(outcome["id"], []).append(outcome)
    return found


def test_each_record_is_scored_once_whatever_the_producer_repeats(
    stack: Stack, streams: Streams, penguins_csv: bytes
) -> None:
    rows = [{name: value or None for name, value in row.items()} for row in table(penguins_csv)[:60]]
    records = [
        {"model": MODEL, "version": 1, "id": f"bird-{number}", "row": row} for number, row in enumerate(rows)
    ]
    # Every record twice, the second time in other batches.
    streams.put(*records)
    streams.put(*reversed(records))
    streams.wait(lambda: len(of("bird-", streams.sent())) == 60, "not all records came back")
    (last,) = streams.put({"model": MODEL, "rows": rows[:3], "version": 1})
    streams.wait(
        lambda: any(one["source"]["sequence"] == last for one in streams.sent()), "the last did not come"
    )
    sent, kept = of("bird-", streams.sent()), of("bird-", streams.kept())
    assert {len(outcomes) for outcomes in sent.values()} == {1}
    assert {name: one for name, (one,) in sent.items()} == {name: one for name, (one,) in kept.items()}
    answer = stack.post("/predict", {"model": MODEL, "version": 1, "rows": rows}).json
    for number, (prediction, shares) in enumerate(
        zip(answer["predictions"], answer["probabilities"], strict=True)
    ):
        (outcome,) = kept[f"bird-{number}"]
        assert outcome["prediction"] == prediction
        assert outcome["probabilities"] == pytest.approx(shares, rel=1e-14)
        assert (outcome["model"], outcome["version"]) == (MODEL, 1)
    several = next(one for one in streams.kept() if one["source"]["sequence"] == last)
    assert several["predictions"] == answer["predictions"][:3]
    assert several["id"].endswith(f":{last}")


def test_a_replay_of_a_batch_changes_nothing(stack: Stack, streams: Streams) -> None:
    event = json.loads((ROOT / "events" / "score.stream.json").read_text("utf-8"))
    before = len(streams.kept()), len(streams.sent())
    for _ in range(2):
        answer = stack.platform.invoke("score", event)
        assert answer.payload == {"batchItemFailures": []}, answer.log
    first = len(streams.kept()), len(streams.sent())
    assert first in ((before[0] + 3, before[1] + 3), before), "three records, if they were new"
    stack.platform.invoke("score", event)
    assert (len(streams.kept()), len(streams.sent())) == first


def test_records_that_are_wrong_are_kept_with_their_reasons(streams: Streams) -> None:
    sequences = streams.put(b"no json", {"model": "nobody", "row": {}}, {"model": MODEL, "rows": [{}]})
    streams.wait(
        lambda: set(sequences) <= {one["source"]["sequence"] for one in streams.sent()}, "not all came back"
    )
    kept = {one["source"]["sequence"]: one for one in streams.kept()}
    codes = [kept[sequence].get("error", {}).get("code") for sequence in sequences]
    assert codes == ["body-not-json", "model-unknown", None]


def test_a_record_that_cannot_be_scored_for_now_is_kept_and_blocks_nobody_for_long(
    stack: Stack, streams: Streams
) -> None:
    def put(key: str, data: bytes) -> None:
        stack.s3.put_object(Bucket=stack.artifact_bucket, Key=key, Body=data)

    put(keys.version("broken", 1, "model.plan"), b"no plan")
    put(keys.alias("broken"), b'{"version": 1}')
    streams.put({"model": "broken", "id": "stuck", "row": {}})
    (after,) = streams.put({"model": MODEL, "rows": [{}]})
    streams.wait(
        lambda: after in {one["source"]["sequence"] for one in streams.sent()}, "the record behind it waits"
    )
    streams.wait(lambda: bool(discarded(stack)), "the record that was given up is not kept")
    assert b"stuck" in b"".join(discarded(stack))
    assert not of("stuck", streams.kept())


def discarded(stack: Stack) -> list[bytes]:
    """Return the data of the records that the mapping gave up on."""
    listed = stack.s3.list_objects_v2(Bucket=stack.data_bucket, Prefix=keys.FAILURES)
    documents = [
        json.loads(stack.fetch(f"s3://{stack.data_bucket}/{item['Key']}"))
        for item in listed.get("Contents", [])
    ]
    return [
        base64.b64decode(record["kinesis"]["data"])
        for document in documents
        for record in document["payload"]["Records"]
    ]


@pytest.mark.parametrize("named", [False, True], ids=["newest", "version"])
@pytest.mark.parametrize("folder", ["datasets", "score"])
def test_a_file_that_lies_there_is_scored_when_an_event_names_it(
    stack: Stack, penguins: dict[str, Any], penguins_csv: bytes, folder: str, named: bool
) -> None:
    file: str = penguins["file"]
    if folder == "score":
        stack.wait(stack.upload_to_score(MODEL, penguins_csv, file="direct.csv", options={"version": 1}))
        file = f"s3://{stack.data_bucket}/{keys.to_score(MODEL, 'direct.csv')}"
    key = file.removeprefix(f"s3://{stack.data_bucket}/")
    version = stack.s3.head_object(Bucket=stack.data_bucket, Key=key)["VersionId"]
    event = {"model": MODEL, "file": file, "options": {"keep": [], "version": 1}}
    event |= {"version_id": version} if named else {}
    answers = [stack.platform.invoke("score", event) for _ in range(2)]
    assert not answers[0].error, answers[0].payload
    assert answers[0].payload["run"] == answers[1].payload["run"], "the same is asked for"
    run = stack.wait(answers[0].payload["run"])
    assert (run["state"], run["rows_scored"]) == ("SUCCEEDED", 344), run["error"]
