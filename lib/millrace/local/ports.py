"""The emulator as the poller sees it: streams, functions and on-failure destinations."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from typing import Any

from millrace.aws.endpoints import connect
from millrace.aws.errors import translated
from millrace.errors import MillraceError
from millrace.local import settings
from millrace.local.poller import Answer, Mapping, Record, Throttled

__all__ = ["EmulatorPorts"]

_log = logging.getLogger(__name__)


class EmulatorPorts:
    """Calls the services of the emulator; streams and destinations with the role of the function, as on AWS.

    Parameters
    ----------
    endpoint : str
        URL of the emulator.
    credentials : mapping
        Credentials of the function's role by mapping.
    """

    def __init__(self, endpoint: str, credentials: AnyMapping[str, AnyMapping[str, str]]) -> None:
        self._endpoint = endpoint
        self._credentials = credentials

    def read(self, mapping: Mapping, shard: str, after: str, limit: int) -> list[Record]:
        """Return up to ``limit`` records after a sequence number, oldest first."""
        kinesis = self._client("kinesis", mapping)
        where: dict[str, str] = {"ShardIteratorType": "TRIM_HORIZON"}
        if after:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": after}
        with _once(mapping):
            iterator = kinesis.get_shard_iterator(StreamARN=mapping.stream_arn, ShardId=shard, **where)
            got = kinesis.get_records(
                ShardIterator=iterator["ShardIterator"], StreamARN=mapping.stream_arn, Limit=limit
            )
        return [
            Record(
                record["SequenceNumber"],
                record["PartitionKey"],
                record["Data"],
                record["ApproximateArrivalTimestamp"].timestamp(),
            )
            for record in got["Records"]
        ]

    def invoke(self, mapping: Mapping, event: dict[str, Any]) -> Answer:
        """Run the function; the service itself needs no permission of the function's role."""
        client = connect("lambda", self._endpoint, mapping.region, settings.CREDENTIALS)
        with _once(mapping):
            got = client.invoke(FunctionName=mapping.function_arn, Payload=json.dumps(event).encode())
            payload = got["Payload"].read()
        return Answer(
            json.loads(payload or b"null"), got.get("FunctionError"), got["ResponseMetadata"]["RequestId"]
        )

    def deliver(self, mapping: Mapping, key: str, document: dict[str, Any], records: dict[str, Any]) -> None:
        """Write to the on-failure destination; a delivery that fails is lost, as on AWS, and logged."""
        destination = mapping.destination or ""
        try:
            with _once(mapping):
                self._deliver(mapping, destination, key, document, records)
        except Throttled as error:
            _log.error("Delivery to %s failed: %s", destination, error)

    def _deliver(
        self, mapping: Mapping, destination: str, key: str, document: dict[str, Any], records: dict[str, Any]
    ) -> None:
        service, *_, name = destination.split(":")[2:]
        if service == "s3":
            body = json.dumps({**document, "payload": records}).encode()
            self._client("s3", mapping).put_object(Bucket=name, Key=key, Body=body)
        elif service == "sqs":
            sqs = self._client("sqs", mapping)
            # The queue's address follows from its ARN, so that no permission is needed to ask for it.
            url = f"{self._endpoint}/{destination.split(':')[4]}/{name}"
            sqs.send_message(QueueUrl=url, MessageBody=json.dumps(document))
        elif service == "sns":
            self._client("sns", mapping).publish(TopicArn=destination, Message=json.dumps(document))
        else:
            _log.error("No delivery to %s: not a destination for streams", destination)

    def _client(self, service: str, mapping: Mapping) -> Any:
        return connect(service, self._endpoint, mapping.region, self._credentials[mapping.uuid])


@contextlib.contextmanager
def _once(mapping: Mapping) -> Iterator[None]:
    """Turn what a service refused into ``Throttled``: the poller tries again, whatever it was."""
    try:
        with translated(mapping.stream_arn):
            yield
    except MillraceError as error:
        raise Throttled(str(error)) from error
