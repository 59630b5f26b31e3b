"""DynamoDB as :class:`millrace.contracts.RunStore`: one table, one item for each thing that changes alone.

===================  ==================  ==========================================================
``pk``               ``sk``              what
===================  ==================  ==========================================================
``run#<id>``         ``run``             the run's own fields, and its place in the index ``by_time``
``run#<id>``         ``pass#<name>``     ``total``, ``token``, ``done``, the set of parts that are done, and
                                         what each ticket has claimed: a place among the parts but ``skip``
``run#<id>``         ``usage#<fn>``      what one function used, added up
``dataset#<name>``   ``last_success``    which run succeeded last
``dataset#<name>``   ``last_upload``     the same of the runs of files that users uploaded
===================  ==================  ==========================================================

The index ``by_time`` has ``gsi_pk`` (always ``run``) and ``gsi_sk`` (``<created_at>#<id>``). All four key
attributes are strings.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from millrace.aws.clients import client
from millrace.aws.errors import error_code, translated
from millrace.contracts import REQUESTS, Parts, PassProgress, Run, Usage, decode, encode
from millrace.errors import BadInput, NotFound

__all__ = ["DynamoRunStore"]

INDEX = "by_time"
_ALL_RUNS = "run"
_ELSEWHERE = frozenset({"progress", "usage"})
_AS_JSON = frozenset({"spec", "score", "metrics", "baseline", "warnings", "error"})
"""Fields with an inside; stored as JSON text, which keeps every float as it is."""
_FIELDS = frozenset(field.name for field in fields(Run)) - _ELSEWHERE


class DynamoRunStore:
    """Run records in one table.

    Parameters
    ----------
    table : str
        The table's name.
    dynamodb : botocore client, optional
        Built on first use when absent.
    now : callable
        The present time in UTC as ISO 8601 with milliseconds.
    """

    def __init__(self, table: str, dynamodb: Any = None, now: Callable[[], str] | None = None) -> None:
        self._table = table
        self._given = dynamodb
        self._now = now or _now

    @property
    def _db(self) -> Any:
        return self._given if self._given is not None else client("dynamodb")

    def open(self, run: Run) -> bool:
        """Create the record; ``False`` when it exists already (the event came twice)."""
        item = _address(run.run_id, "run") | {
            "gsi_pk": {"S": _ALL_RUNS},
            "gsi_sk": {"S": f"{run.created_at}#{run.run_id}"},
        }
        for name in _FIELDS:
            value = _store(name, getattr(run, name))
            if value is not None:
                item[name] = value
        return self._put_if(item, "attribute_not_exists(pk)", {}, run.run_id)

    def get(self, run_id: str) -> Run:
        """Return the run with its progress and usage.

        Raises
        ------
        NotFound
            There is no such run.
        """
        items: list[dict[str, Any]] = []
        page: dict[str, Any] = {}
        while True:
            with translated(self._where(run_id)):
                answer = self._db.query(
                    TableName=self._table,
                    KeyConditionExpression="pk = :pk",
                    ExpressionAttributeValues={":pk": {"S": f"run#{run_id}"}},
                    ConsistentRead=True,
                    **page,
                )
            items += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                break
            page = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        record = next((item for item in items if item["sk"]["S"] == "run"), None)
        if record is None:
            raise NotFound(
                f"There is no run {run_id!r}", code="run-not-found", remedy="GET /runs lists the runs."
            )
        progress: dict[str, Any] = {}
        usage: list[Any] = []
        for item in items:
            kind, _, name = item["sk"]["S"].partition("#")
            if kind == "pass":
                progress[name] = encode(_progress(item))
            elif kind == "usage":
                used = {part: int(item[part]["N"]) for part in (*_ADDED, "memory_mb") if part in item}
                usage.append({"function": name} | used)
        return _run(record, progress, usage)

    def list(self, *, limit: int = 50, cursor: str | None = None) -> tuple[tuple[Run, ...], str | None]:
        """Return runs, newest first, and the cursor of the next page.

        The index holds the runs' own fields: ``progress`` and ``usage`` are empty here, see :meth:`get`.

        Raises
        ------
        BadInput
            The cursor is not one that this method returned.
        """
        page = {"ExclusiveStartKey": _decode_cursor(cursor)} if cursor else {}
        with translated(f"table {self._table}"):
            answer = self._db.query(
                TableName=self._table,
                IndexName=INDEX,
                KeyConditionExpression="gsi_pk = :all",
                ExpressionAttributeValues={":all": {"S": _ALL_RUNS}},
                ScanIndexForward=False,
                Limit=limit,
                **page,
            )
        last = answer.get("LastEvaluatedKey")
        return tuple(_run(item, {}, []) for item in answer["Items"]), _encode_cursor(last) if last else None

    def update(self, run_id: str, **changes: Any) -> None:
        """Set fields of :class:`Run` by name, and ``updated_at``; ``None`` takes a field away.

        Raises
        ------
        NotFound
            There is no such run.
        """
        unknown = sorted(set(changes) - _FIELDS)
        if unknown:
            raise ValueError(f"a run has no field {unknown[0]!r} that can be set")
        sets: list[str] = []
        removes: list[str] = []
        values: dict[str, Any] = {}
        names: dict[str, str] = {}
        for name, value in ({"updated_at": self._now()} | changes).items():
            names[f"#{name}"] = name
            stored = _store(name, value)
            if stored is None:
                removes.append(f"#{name}")
            else:
                sets.append(f"#{name} = :{name}")
                values[f":{name}"] = stored
        expression = f"SET {', '.join(sets)}" + (f" REMOVE {', '.join(removes)}" if removes else "")
        with translated(self._where(run_id)):
            try:
                self._db.update_item(
                    TableName=self._table,
                    Key=_address(run_id, "run"),
                    UpdateExpression=expression,
                    ConditionExpression="attribute_exists(pk)",
                    ExpressionAttributeNames=names,
                    ExpressionAttributeValues=values,
                )
            except self._db.exceptions.ConditionalCheckFailedException:
                raise NotFound(f"There is no run {run_id!r}", code="run-not-found") from None

    def start_pass(
        self, run_id: str, name: str, *, total: int, token: str = "", skip: Collection[int] = ()
    ) -> None:
        """Begin (or begin again, with a new token) a counted set of ``total`` parts; parts done stay done.

        No part is claimed then, and those of ``skip`` never will be.
        """
        values: dict[str, Any] = {
            ":total": {"N": str(total)},
            ":token": {"S": token},
            ":none": {"M": {}},
            ":zero": {"N": "0"},
            ":places": {"N": str(total - len(skip))},
        }
        expression = "SET #total = :total, #token = :token, #claims = :none, #next = :zero, #places = :places"
        if skip:
            values[":skip"] = {"NS": [str(part) for part in sorted(skip)]}
        with translated(self._where(run_id)):
            self._db.update_item(
                TableName=self._table,
                Key=_address(run_id, f"pass#{name}"),
                UpdateExpression=expression + (", #skip = :skip" if skip else " REMOVE #skip"),
                ExpressionAttributeNames={
                    f"#{name}": name for name in ("total", "token", "claims", "next", "places", "skip")
                },
                ExpressionAttributeValues=values,
            )

    def claim_part(self, run_id: str, name: str, *, ticket: int, token: str) -> int | None:
        """Give the ticket the next part that nobody has, for good, and return its number.

        ``None`` if the ticket has one already, if none is left, or if the pass has another token now.
        """
        with translated(self._where(run_id)):
            try:
                answer = self._db.update_item(
                    TableName=self._table,
                    Key=_address(run_id, f"pass#{name}"),
                    # Both sides of an update are read from the item as it was before.
                    UpdateExpression="SET #claims.#ticket = #next, #next = #next + :one",
                    ConditionExpression="#token = :token AND #next < #places AND "
                    "attribute_not_exists(#claims.#ticket)",
                    ExpressionAttributeNames={
                        f"#{name}": name for name in ("claims", "next", "token", "places")
                    }
                    | {"#ticket": str(ticket)},
                    ExpressionAttributeValues={":one": {"N": "1"}, ":token": {"S": token}},
                    ReturnValues="ALL_NEW",
                )
            except self._db.exceptions.ConditionalCheckFailedException:
                return None
        return _parts(answer["Attributes"]).claimed[ticket]

    def complete_part(self, run_id: str, name: str, part: int) -> PassProgress:
        """Mark part ``part`` done, once, and return the progress after it.

        Raises
        ------
        NotFound
            The pass was never started.
        """
        with translated(self._where(run_id)):
            try:
                answer = self._db.update_item(
                    TableName=self._table,
                    Key=_address(run_id, f"pass#{name}"),
                    UpdateExpression="ADD #done :part",
                    ConditionExpression="attribute_exists(#total)",
                    ExpressionAttributeNames={"#done": "done", "#total": "total"},
                    ExpressionAttributeValues={":part": {"NS": [str(part)]}},
                    ReturnValues="ALL_NEW",
                )
            except self._db.exceptions.ConditionalCheckFailedException:
                raise NotFound(
                    f"Run {run_id!r} has not begun its pass {name!r}", code="pass-not-found"
                ) from None
        return _progress(answer["Attributes"])

    def parts(self, run_id: str, name: str) -> Parts | None:
        """Return who has which parts and which are done; ``None`` if the pass never began."""
        with translated(self._where(run_id)):
            answer = self._db.query(
                TableName=self._table,
                KeyConditionExpression="pk = :pk AND sk = :sk",
                ExpressionAttributeValues={":pk": {"S": f"run#{run_id}"}, ":sk": {"S": f"pass#{name}"}},
                ConsistentRead=True,
            )
        return _parts(answer["Items"][0]) if answer["Items"] else None

    def add_usage(self, run_id: str, usage: Usage) -> None:
        """Add to what the run used."""
        with translated(self._where(run_id)):
            self._db.update_item(
                TableName=self._table,
                Key=_address(run_id, f"usage#{usage.function}"),
                UpdateExpression=f"ADD {', '.join(f'{name} :{name}' for name in _ADDED)} SET memory_mb = :mb",
                ExpressionAttributeValues={":mb": {"N": str(usage.memory_mb)}}
                | {f":{name}": {"N": str(getattr(usage, name))} for name in _ADDED},
            )

    def last_success(self, dataset: str) -> Run | None:
        """Return the dataset's last successful run."""
        return self._last(dataset, "last_success")

    def last_upload(self, dataset: str) -> Run | None:
        """Return the dataset's last successful run of a file that a user uploaded."""
        return self._last(dataset, "last_upload")

    def _last(self, dataset: str, sk: str) -> Run | None:
        with translated(f"dataset {dataset}"):
            answer = self._db.get_item(
                TableName=self._table,
                Key={"pk": {"S": f"dataset#{dataset}"}, "sk": {"S": sk}},
                ConsistentRead=True,
            )
        item = answer.get("Item")
        return self.get(item["run_id"]["S"]) if item else None

    def record_success(self, run_id: str) -> None:
        """Make this run its dataset's last successful one, unless a younger run is that already."""
        run = self.get(run_id)
        for sk in ("last_success", "last_upload") if run.source == "upload" else ("last_success",):
            item = {
                "pk": {"S": f"dataset#{run.dataset}"},
                "sk": {"S": sk},
                "run_id": {"S": run_id},
                "created_at": {"S": run.created_at},
            }
            self._put_if(
                item,
                "attribute_not_exists(pk) OR created_at <= :created_at",
                {":created_at": {"S": run.created_at}},
                run_id,
            )

    def _put_if(self, item: dict[str, Any], condition: str, values: dict[str, Any], run_id: str) -> bool:
        with translated(self._where(run_id)):
            try:
                self._db.put_item(
                    TableName=self._table,
                    Item=item,
                    ConditionExpression=condition,
                    **({"ExpressionAttributeValues": values} if values else {}),
                )
            except self._db.exceptions.ClientError as error:
                if error_code(error) == "ConditionalCheckFailedException":
                    return False
                raise
        return True

    def _where(self, run_id: str) -> str:
        return f"run {run_id} in table {self._table}"


_ADDED = ("invocations", "billed_ms", *REQUESTS)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _address(run_id: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": f"run#{run_id}"}, "sk": {"S": sk}}


def _store(name: str, value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    if name in _AS_JSON:
        return {"S": json.dumps(encode(value), ensure_ascii=False)}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(value)}
    return {"S": str(value)}


def _load(name: str, stored: Mapping[str, Any]) -> Any:
    kind, value = next(iter(stored.items()))
    if name in _AS_JSON:
        return json.loads(value)
    return int(value) if kind == "N" else value


def _run(item: Mapping[str, Any], progress: Mapping[str, Any], usage: list[Any]) -> Run:
    own = {name: _load(name, item[name]) for name in _FIELDS if name in item}
    return decode(Run, own | {"progress": progress, "usage": usage})


def _progress(item: Mapping[str, Any]) -> PassProgress:
    done = item.get("done", {}).get("NS", [])
    return PassProgress(done=len(done), total=int(item["total"]["N"]), token=item["token"]["S"])


def _parts(item: Mapping[str, Any]) -> Parts:
    total = int(item["total"]["N"])
    skip = {int(part) for part in item.get("skip", {}).get("NS", [])}
    parts = [part for part in range(total) if part not in skip]
    return Parts(
        total=total,
        token=item["token"]["S"],
        done=frozenset(int(part) for part in item.get("done", {}).get("NS", [])),
        claimed={int(ticket): parts[int(place["N"])] for ticket, place in item["claims"]["M"].items()},
        left=len(parts) - int(item["next"]["N"]),
    )


def _encode_cursor(key: Mapping[str, Any]) -> str:
    text = json.dumps({name: value["S"] for name, value in key.items()})
    return base64.urlsafe_b64encode(text.encode()).decode()


def _decode_cursor(cursor: str) -> dict[str, Any]:
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        found = {name: key[name] for name in ("pk", "sk", "gsi_pk", "gsi_sk")}
    except (binascii.Error, ValueError, KeyError, TypeError):
        found = {}
    if not found or not all(isinstance(value, str) and value for value in found.values()):
        raise BadInput(
            "The cursor is not one of ours",
            code="cursor-invalid",
            remedy="Take it from the answer to the page before, or leave it out.",
        )
    return {name: {"S": value} for name, value in found.items()}
