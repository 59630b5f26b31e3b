"""The documented behaviour of an event source mapping on a stream, through the whole platform."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import pytest

from tests.contract.local.conftest import Workshop, eventually

pytestmark = pytest.mark.platform

NOTES = """
def handler(event, context):
    note(data(event))
"""
FAILS_ON_BAD = """
def handler(event, context):
    note(data(event))
    if "bad" in data(event):
        raise ValueError("bad record")
"""


def test_records_arrive_in_order_with_lambdas_event(workshop: Workshop) -> None:
    function = workshop.function("def handler(event, context): note(event)")
    stream = workshop.stream()
    workshop.put(stream, "a", "b", key="k1")
    workshop.mapping(function, stream, BatchSize=10)
    (event,) = eventually(function.events)
    first, second = event["Records"]
    assert first["eventSource"] == "aws:kinesis"
    assert first["eventName"] == "aws:kinesis:record"
    assert first["eventSourceARN"].endswith(f":stream/{stream}")
    assert first["eventID"] == f"shardId-000000000000:{first['kinesis']['sequenceNumber']}"
    assert (first["kinesis"]["data"], second["kinesis"]["data"]) == ("YQ==", "Yg==")
    assert first["kinesis"]["partitionKey"] == "k1"
    assert int(first["kinesis"]["sequenceNumber"]) < int(second["kinesis"]["sequenceNumber"])


def test_latest_begins_at_the_creation_of_the_mapping(workshop: Workshop) -> None:
    function = workshop.function(NOTES)
    stream = workshop.stream()
    workshop.put(stream, "before")
    workshop.mapping(function, stream, StartingPosition="LATEST")
    workshop.put(stream, "after")
    assert eventually(function.batches) == [["after"]]


def test_a_batch_has_at_most_its_size(workshop: Workshop) -> None:
    function = workshop.function(NOTES)
    stream = workshop.stream()
    workshop.put(stream, *"abcde")
    workshop.mapping(function, stream, BatchSize=2)
    assert eventually(lambda: len(function.batches()) == 3 and function.batches()) == [
        ["a", "b"],
        ["c", "d"],
        ["e"],
    ]


def test_a_batch_window_gathers_records(workshop: Workshop) -> None:
    function = workshop.function(NOTES)
    stream = workshop.stream()
    workshop.mapping(function, stream, BatchSize=100, MaximumBatchingWindowInSeconds=2)
    for one in "abc":
        workshop.put(stream, one)
    assert eventually(function.batches) == [["a", "b", "c"]]


def test_a_full_batch_does_not_wait_for_its_window(workshop: Workshop) -> None:
    function = workshop.function(NOTES)
    stream = workshop.stream()
    workshop.mapping(function, stream, BatchSize=2, MaximumBatchingWindowInSeconds=300)
    workshop.put(stream, "a", "b", "c")
    assert eventually(function.batches) == [["a", "b"]]


def test_a_shard_runs_in_parallel_by_key(workshop: Workshop) -> None:
    function = workshop.function(
        """
        def handler(event, context):
            note(data(event))
            if data(event)[0].startswith("first"):
                meet("lanes", 3)
        """
    )
    stream = workshop.stream()
    # Keys whose hashes leave 1, 0 and 2 when divided by 3.
    for key in ("a", "d", "f"):
        workshop.put(stream, f"first-{key}", f"second-{key}", key=key)
    workshop.mapping(function, stream, BatchSize=1, ParallelizationFactor=3)
    batches = eventually(lambda: len(function.batches()) == 6 and function.batches())
    order = [one for batch in batches for one in batch]
    for key in ("a", "d", "f"):
        assert order.index(f"first-{key}") < order.index(f"second-{key}")


def test_a_failed_batch_blocks_its_shard_and_is_tried_again(workshop: Workshop) -> None:
    function = workshop.function(
        """
        def handler(event, context):
            note(data(event))
            if len(open(os.environ["LINES"]).readlines()) < 3:
                raise ValueError("not yet")
        """
    )
    stream = workshop.stream()
    workshop.put(stream, "a", "b")
    workshop.mapping(function, stream, BatchSize=1)
    assert eventually(lambda: len(function.batches()) == 4 and function.batches()) == [
        ["a"],
        ["a"],
        ["a"],
        ["b"],
    ]


def test_partial_failures_are_tried_again_from_the_lowest(workshop: Workshop) -> None:
    function = workshop.function(
        """
        def handler(event, context):
            first_time = not os.path.exists(os.environ["LINES"])
            note(data(event))
            names = [r["kinesis"]["sequenceNumber"] for r in event["Records"]]
            failed = [names[3], names[1]] if first_time else []
            return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}
        """
    )
    stream = workshop.stream()
    workshop.put(stream, *"abcde")
    workshop.mapping(function, stream, BatchSize=5, FunctionResponseTypes=["ReportBatchItemFailures"])
    workshop.put(stream, "f")
    batches = eventually(lambda: len(function.batches()) == 3 and function.batches())
    assert batches == [list("abcde"), list("bcde"), ["f"]]


@pytest.mark.parametrize("identifier", ["None", "''", "'no such record'"], ids=["null", "empty", "unknown"])
def test_an_unusable_identifier_fails_the_whole_batch(workshop: Workshop, identifier: str) -> None:
    function = workshop.function(
        f"""
        def handler(event, context):
            first_time = not os.path.exists(os.environ["LINES"])
            note(data(event))
            return {{"batchItemFailures": [{{"itemIdentifier": {identifier}}}] if first_time else []}}
        """
    )
    stream = workshop.stream()
    workshop.put(stream, *"abc")
    workshop.mapping(function, stream, BatchSize=3, FunctionResponseTypes=["ReportBatchItemFailures"])
    assert eventually(lambda: len(function.batches()) == 2 and function.batches()) == [
        list("abc"),
        list("abc"),
    ]


def test_bisecting_isolates_the_bad_record(workshop: Workshop) -> None:
    function = workshop.function(FAILS_ON_BAD)
    stream = workshop.stream()
    workshop.put(stream, "a", "b", "bad", "d")
    workshop.mapping(function, stream, BatchSize=4, BisectBatchOnFunctionError=True, MaximumRetryAttempts=0)
    assert eventually(lambda: ["d"] in function.batches() and function.batches()) == [
        ["a", "b", "bad", "d"],
        ["a", "b"],
        ["bad", "d"],
        ["bad"],
        ["d"],
    ]


def test_after_the_last_retry_the_shard_goes_on(workshop: Workshop) -> None:
    function = workshop.function(FAILS_ON_BAD)
    stream = workshop.stream()
    workshop.put(stream, "bad", "b")
    workshop.mapping(function, stream, BatchSize=1, MaximumRetryAttempts=2)
    assert eventually(lambda: ["b"] in function.batches() and function.batches()) == [["bad"]] * 3 + [["b"]]


def test_records_over_the_age_limit_are_given_up(workshop: Workshop) -> None:
    function = workshop.function(FAILS_ON_BAD)
    queue, arn = _queue(workshop)
    stream = workshop.stream()
    workshop.put(stream, "bad")
    destination = {"OnFailure": {"Destination": arn}}
    workshop.mapping(
        function, stream, BatchSize=1, MaximumRecordAgeInSeconds=1, DestinationConfig=destination
    )
    message = eventually(lambda: _message(workshop, queue))
    assert message["requestContext"]["condition"] == "RecordAgeExceeded"
    workshop.put(stream, "b")
    assert eventually(lambda: ["b"] in function.batches())


def test_a_queue_learns_where_the_given_up_records_are(workshop: Workshop) -> None:
    function = workshop.function(FAILS_ON_BAD)
    queue, arn = _queue(workshop)
    stream = workshop.stream()
    workshop.put(stream, "x", "bad")
    destination = {"OnFailure": {"Destination": arn}}
    workshop.mapping(function, stream, BatchSize=2, MaximumRetryAttempts=1, DestinationConfig=destination)
    message = eventually(lambda: _message(workshop, queue))
    context = message["requestContext"]
    assert context["condition"] == "RetryAttemptsExhausted"
    assert context["functionArn"] == function.arn
    assert context["approximateInvokeCount"] == 2
    assert message["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    where = message["KinesisBatchInfo"]
    assert where["shardId"] == "shardId-000000000000"
    assert where["batchSize"] == 2
    assert where["streamArn"].endswith(f":stream/{stream}")
    assert int(where["startSequenceNumber"]) < int(where["endSequenceNumber"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", where["approximateArrivalOfFirstRecord"])
    assert "payload" not in message


def test_a_bucket_gets_the_given_up_records_and_tells_of_it(workshop: Workshop) -> None:
    fails = workshop.function(FAILS_ON_BAD)
    told = workshop.function("def handler(event, context): note(event)")
    bucket = f"b-{uuid.uuid4().hex[:12]}"
    s3 = workshop.platform.client("s3")
    s3.create_bucket(Bucket=bucket)
    listening = {
        "LambdaFunctionArn": told.arn,
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "aws/lambda/"}]}},
    }
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": [listening]}
    )
    stream = workshop.stream()
    workshop.put(stream, "bad")
    destination = {"OnFailure": {"Destination": f"arn:aws:s3:::{bucket}"}}
    mapping = workshop.mapping(fails, stream, MaximumRetryAttempts=0, DestinationConfig=destination)
    (event,) = eventually(told.events)
    key = event["Records"][0]["s3"]["object"]["key"]
    day, second = r"\d{4}/\d\d/\d\d", r"\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d"
    assert re.fullmatch(rf"aws/lambda/{mapping}/shardId-0{{12}}/{day}/{second}-[0-9a-f-]{{36}}", key)
    written = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert written["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert written["payload"]["Records"][0]["kinesis"]["data"] == "YmFk"


def test_a_mapping_can_be_changed_and_halted(workshop: Workshop) -> None:
    function = workshop.function(NOTES)
    stream = workshop.stream()
    mapping = workshop.mapping(function, stream, BatchSize=1)
    workshop.put(stream, "a")
    assert eventually(function.batches) == [["a"]]
    client = workshop.platform.client("lambda")
    client.update_event_source_mapping(UUID=mapping, Enabled=False)
    client.update_event_source_mapping(UUID=mapping, BatchSize=10)
    workshop.put(stream, "b", "c")
    client.update_event_source_mapping(UUID=mapping, Enabled=True)
    assert eventually(lambda: function.batches()[-1] == ["b", "c"] or ["c"] in function.batches())
    assert [one for batch in function.batches() for one in batch] == ["a", "b", "c"]


def _queue(workshop: Workshop) -> tuple[str, str]:
    sqs = workshop.platform.client("sqs")
    url = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex[:12]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return url, arn


def _message(workshop: Workshop, queue: str) -> dict[str, Any] | None:
    got = workshop.platform.client("sqs").receive_message(QueueUrl=queue).get("Messages", [])
    return json.loads(got[0]["Body"]) if got else None
