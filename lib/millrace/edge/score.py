"""``score``: records of a stream, rows of a direct event, and a file that is named directly.

A stream record that names a ``dataset`` is collected, see :mod:`millrace.edge.collect`; every other one is to
be scored. Its data is the body of ``POST /predict`` with two more fields: ``id``, by which it is scored
once (without it, by its place on the stream), and ``row`` for a single row in the place of ``rows``. What
comes of it is one JSON object: ``id``, ``source`` (``shard``, ``sequence``, ``arrived_at``), and either the
answer of ``POST /predict`` (with ``row``: ``prediction``, and ``probabilities`` of that row), or ``error``
with ``code`` and ``message``, and ``record``, the data as it came, in base64.
"""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from millrace import keys
from millrace.edge import http
from millrace.edge.collect import dataset_of_partition_key, is_dataset
from millrace.edge.predict import ours
from millrace.edge.predict.call import Call
from millrace.edge.predict.score import array_bytes, load
from millrace.errors import BadInput, MillraceError, NotFound
from millrace.streams import Outcome, Source, identity_of

if TYPE_CHECKING:
    from millrace.contracts import Run
    from millrace.edge.handler import Job
    from millrace.edge.settings import ScoreSettings
    from millrace.registry.reader import Reader

__all__ = [
    "Arrival",
    "answer_rows",
    "arrival_of",
    "name_of",
    "outcome_of",
    "read_registry",
    "score_named_file",
]

HELD_SHARE = 0.5
"""Share of the function's memory that loaded plans may take."""
_FILE_FIELDS = frozenset(("model", "file", "version_id", "options"))


def read_registry(job: Job[ScoreSettings]) -> Reader:
    """Return what follows the registry as ``predict`` does: aliases noticed in time, plans kept."""
    from millrace.aws.lean import Bucket
    from millrace.registry.reader import Reader

    def warn(message: str, error: MillraceError) -> None:
        job.logger.warning(message, extra={"code": error.code, "reason": str(error)})

    return Reader(
        Bucket(job.settings.artifact_bucket, os.environ),
        load,
        array_bytes=array_bytes,
        freshness_s=job.settings.freshness_s,
        memory_bytes=int(HELD_SHARE * int(job.context.memory_limit_in_mb) * (1 << 20)),
        warn=warn,
    )


def answer_rows(event: Mapping[str, Any], reader: Reader, remaining_ms: Callable[[], int]) -> dict[str, Any]:
    """Answer ``{"model", "rows", …}`` as ``POST /predict`` does.

    Raises
    ------
    BadInput
        The event is no such object, or a value is refused.
    NotFound
        There is no such model or version.
    """
    return ours.answer_object(Call(event, "", reader, 0, remaining_ms, {}), event)


def score_named_file(event: Mapping[str, Any], job: Job[ScoreSettings]) -> Run:
    """Open the run that ``{"model", "file": "s3://…", "version_id"?, "options"?}`` asks for.

    Raises
    ------
    BadInput
        The event is no such object, or the file lies where it cannot be read.
    NotFound
        There is no such file.
    """
    from millrace.runs.ingest import Upload, score_file

    unknown = sorted(event.keys() - _FILE_FIELDS)
    model, file, version_id = event.get("model"), event.get("file"), event.get("version_id")
    options = event.get("options", {})
    bucket, slash, key = str(file).removeprefix("s3://").partition("/")
    if (
        unknown
        or not isinstance(model, str)
        or not str(file).startswith("s3://")
        or not (slash and key)
        or not isinstance(version_id, (str, type(None)))
        or not isinstance(options, dict)
    ):
        raise BadInput(
            "The event names no file to score",
            code="event-invalid",
            where=unknown[0] if unknown else "",
            remedy='Send {"model": "<name>", "file": "s3://<bucket>/<key>"}, and if need be "version_id" and '
            '"options".',
        )
    return score_file(
        model,
        Upload(bucket, key, version_id),
        options,
        data=job.ports.data,
        artifacts=job.ports.artifacts,
        runs=job.ports.runs,
        executions=job.ports.executions,
        max_file_bytes=job.settings.max_file_bytes,
    )


class Arrival(NamedTuple):
    """A record as it was delivered.

    Attributes
    ----------
    source : Source
        Where on the stream it stood.
    record : mapping
        As it came: ``record``, its data in base64, and ``partition_key``.
    dataset : str or None
        The dataset that its rows are for; ``None`` for a record to score, and for what names nothing.
    body : object
        Its data as JSON values, or its text when it is CSV by its partition key.
    error : BadInput or None
        Its data cannot be read.
    """

    source: Source
    record: Mapping[str, str]
    dataset: str | None
    body: Any
    error: BadInput | None = None


def arrival_of(record: Mapping[str, Any]) -> Arrival:
    """Read one record of the stream, as it stands in the event of the event source mapping."""
    kinesis = record["kinesis"]
    arrived = datetime.fromtimestamp(kinesis["approximateArrivalTimestamp"], UTC)
    source = Source(
        record["eventID"].partition(":")[0],
        kinesis["sequenceNumber"],
        arrived.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )
    raw = {"record": kinesis["data"], "partition_key": kinesis["partitionKey"]}
    dataset = dataset_of_partition_key(kinesis["partitionKey"])
    try:
        text = _text(kinesis["data"])
        body = http.parse(text) if dataset is None else text
    except BadInput as error:
        return Arrival(source, raw, dataset, None, error)
    if dataset is None and isinstance(body, dict) and is_dataset(body.get("dataset")):
        dataset = body["dataset"]
    return Arrival(source, raw, dataset, body)


def outcome_of(arrival: Arrival, reader: Reader, remaining_ms: Callable[[], int]) -> Outcome:
    """Score one record of the stream; a record that is wrong has a reason for an outcome.

    Parameters
    ----------
    arrival : Arrival
        The record.
    reader : Reader
        The registry.
    remaining_ms : callable
        Milliseconds that are left of the function's time.

    Raises
    ------
    TransientError
        A service refuses for the moment.
    Misconfigured
        The model's plan cannot be used, or the deployment is wrong: no fault of the record.
    """
    source, body = arrival.source, arrival.body
    shown, identity = identity_of(None, None, source)
    content: dict[str, Any] = {"id": shown, "source": vars(source)}
    try:
        if arrival.error is not None:
            raise arrival.error
        if not isinstance(body, dict):
            raise BadInput("The record is not a JSON object", code="body-not-an-object", where="the record")
        if "dataset" in body:  # and no dataset can be called so, else it would not be here
            raise BadInput(
                "A record for a dataset names it by 1 to 63 letters, digits, dots, hyphens, underscores",
                code="dataset-name",
                where="field 'dataset'",
            )
        shown, identity = identity_of(body.get("model"), body.pop("id", None), source)
        content["id"] = shown
        single = "row" in body and "rows" not in body
        if single:
            body["rows"] = [body.pop("row")]
        content |= _named(answer_rows(body, reader, remaining_ms), single)
    except (BadInput, NotFound) as error:
        content["error"] = {"code": error.code, "message": str(error)}
        content["record"] = arrival.record["record"]
    return Outcome(identity, content)


def _text(data: str) -> str:
    try:
        return base64.b64decode(data).decode()
    except UnicodeDecodeError as error:
        raise BadInput(
            f"The record is not UTF-8: {error}", code="body-not-json", where="the record"
        ) from None


def _named(answer: dict[str, Any], single: bool) -> dict[str, Any]:
    """Return an answer as an outcome shows it: of a single row, its prediction and not a list of one."""
    if not single:
        return answer
    shares = answer["probabilities"]
    (prediction,) = answer.pop("predictions")
    return {**answer, "prediction": prediction, "probabilities": shares and shares[0]}


def name_of(event: Mapping[str, Any]) -> str:
    """Return the last part of the keys of what comes of a batch: by hour and shard, and never the same."""
    first = event["Records"][0]
    arrived = datetime.fromtimestamp(first["kinesis"]["approximateArrivalTimestamp"], UTC)
    shard = first["eventID"].partition(":")[0]
    return keys.batch_name(
        f"{arrived:%Y/%m/%d/%H}", shard, first["kinesis"]["sequenceNumber"], uuid.uuid4().hex
    )
