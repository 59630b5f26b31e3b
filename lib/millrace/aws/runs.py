"""DynamoDB as :class:`millrace.contracts.RunStore`: one table, one item for each thing that changes alone.

========================  ================  ==========================================================
``pk``                    ``sk``            what
========================  ================  ==========================================================
``run#<id>``              ``run``           the run's own fields, and its place in the index ``by_time``
``run#<id>``              ``pass#<name>``   ``total``, ``token``, ``done``, the set of parts that are
                                            done, and what each ticket has claimed: a place among the
                                            parts but ``skip``; or to how many ``groups`` they are dealt
``run#<id>#<name>#<n>``   ``group``         of one of these its ``parts``, and ``done`` and claims as above
``run#<id>#usage``        ``<function>``    what it used, added up
``dataset#<name>``        ``last_success``  which run succeeded last
``dataset#<name>``        ``last_upload``   the same of the runs of files that users uploaded
========================  ================  ==========================================================

A partition of the table takes 1,000 writes of 1 KB a second. So what many workers write has a ``pk`` of its
own, and is small: of a group there is a digest of the token. When a group is complete, its parts are added to
``done`` of the pass.

The index ``by_time`` has ``gsi_pk`` (always ``run``) and ``gsi_sk`` (``<created_at>#<id>``). All four key
attributes are strings.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from millrace.aws.clients import client
from millrace.aws.errors import error_code, translated
from millrace.contracts import REQUESTS, Parts, PassProgress, Run, Usage, decode, encode, token_digest
from millrace.errors import BadInput, NotFound

__all__ = ["DynamoRunStore"]

INDEX = "by_time"
_ALL_RUNS = "run"
_ELSEWHERE = frozenset({"progress", "usage"})
_AS_JSON = frozenset({"spec", "score", "metrics", "baseline", "warnings", "error"})
"""Fields with an inside; stored as JSON text, which keeps every float as it is."""
_UNCLAIMED = "#token = :token, #claims = :none, #next = :zero, #places = :places"
_AT_ONCE = 16
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

    def get(self, run_id: str, *, full: bool = False) -> Run:
        """Return the run with its progress.

        Of a pass in groups the progress counts the parts of those that are complete. ``full`` asks for what
        is done in the others, too, with a request for each, and with one more for what the run used.

        Raises
        ------
        NotFound
            There is no such run.
        """
        items = self._query(run_id, f"run#{run_id}")
        record = next((item for item in items if item["sk"]["S"] == "run"), None)
        if record is None:
            raise NotFound(
                f"There is no run {run_id!r}", code="run-not-found", remedy="GET /runs lists the runs."
            )
        progress: dict[str, Any] = {}
        for item in items:
            kind, _, name = item["sk"]["S"].partition("#")
            if kind == "pass":
                known = _progress(item)
                if full and not known.complete:
                    done = self._done_with_groups(run_id, name, _parts(item))
                    known = PassProgress(len(done), known.total, known.token)
                progress[name] = encode(known)
        usage: list[Any] = []
        for item in self._query(run_id, f"run#{run_id}#usage") if full else ():
            used = {part: int(item[part]["N"]) for part in (*_ADDED, "memory_mb") if part in item}
            usage.append({"function": item["sk"]["S"]} | used)
        return _run(record, progress, usage)

    def _query(self, run_id: str, pk: str) -> Sequence[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        page: dict[str, Any] = {}
        while True:
            with translated(self._where(run_id)):
                answer = self._db.query(
                    TableName=self._table,
                    KeyConditionExpression="pk = :pk",
                    ExpressionAttributeValues={":pk": {"S": pk}},
                    ConsistentRead=True,
                    **page,
                )
            items += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return items
            page = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

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
        self,
        run_id: str,
        name: str,
        *,
        total: int,
        token: str = "",
        skip: Collection[int] = (),
        groups: int = 0,
    ) -> None:
        """Begin (or begin again, with a new token) a counted set of ``total`` parts; parts done stay done.

        No part is claimed then, and those of ``skip``, which are done, never will be. The others may be dealt
        to groups, at most one for each of them: apart from each other, they can be written at once.
        """
        left = [part for part in range(total) if part not in skip]
        values: dict[str, Any] = {
            ":total": {"N": str(total)},
            ":token": {"S": token},
            ":places": {"N": str(0 if groups else len(left))},
            ":groups": {"N": str(groups)},
        }
        expression = f"SET #total = :total, #groups = :groups, {_UNCLAIMED}"
        if skip:
            values[":skip"] = _set(skip)
            # Groups are dealt anew, so what is done in them must be known here.
            expression += ", #skip = :skip ADD #done :skip"
        else:
            expression += " REMOVE #skip"
        # Before its groups: what is done in those that there were is in ``skip``, or will be done again.
        self._begin(run_id, _address(run_id, f"pass#{name}"), expression, values)

        def begin_group(group: int) -> None:
            parts = left[group::groups]
            values = {
                ":parts": _set(parts),
                ":token": {"S": token_digest(token)},
                ":places": {"N": str(len(parts))},
            }
            expression = f"SET #parts = :parts, {_UNCLAIMED} REMOVE #done"
            self._begin(run_id, _part_address(run_id, name, group), expression, values)

        if groups:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(begin_group, range(groups)))

    def _begin(self, run_id: str, key: dict[str, Any], expression: str, values: dict[str, Any]) -> None:
        with translated(self._where(run_id)):
            self._db.update_item(
                TableName=self._table,
                Key=key,
                UpdateExpression=expression,
                ExpressionAttributeNames=_names(re.findall(r"#(\w+)", expression)),
                ExpressionAttributeValues=values | {":none": {"M": {}}, ":zero": {"N": "0"}},
            )

    def claim_part(
        self, run_id: str, name: str, *, ticket: int, token: str, group: int | None = None
    ) -> int | None:
        """Give the ticket the next part (of the group) that nobody has, for good, and return its number.

        ``None`` if the ticket has one already, if none is left, or if the pass has another token now.
        """
        begun = token if group is None else token_digest(token)
        with translated(self._where(run_id)):
            try:
                answer = self._db.update_item(
                    TableName=self._table,
                    Key=_part_address(run_id, name, group),
                    # Both sides of an update are read from the item as it was before.
                    UpdateExpression="SET #claims.#ticket = #next, #next = #next + :one",
                    ConditionExpression="#token = :token AND #next < #places AND "
                    "attribute_not_exists(#claims.#ticket)",
                    ExpressionAttributeNames=_names(("claims", "next", "token", "places"))
                    | {"#ticket": str(ticket)},
                    ExpressionAttributeValues={":one": {"N": "1"}, ":token": {"S": begun}},
                    ReturnValues="ALL_NEW",
                )
            except self._db.exceptions.ConditionalCheckFailedException:
                return None
        return _parts(answer["Attributes"]).claimed[ticket]

    def complete_part(self, run_id: str, name: str, part: int, group: int | None = None) -> PassProgress:
        """Mark part ``part`` done, once, and return the progress after it.

        It is the group's while that is not complete, and then the pass's.

        Raises
        ------
        NotFound
            The pass was never started.
        """
        item = self._complete(run_id, name, (part,), group)
        if group is None:
            return _progress(item)
        parts = _parts(item)
        if not parts.complete:
            return PassProgress(len(parts.done), parts.total)
        return _progress(self._complete(run_id, name, parts.done, None))

    def _complete(self, run_id: str, name: str, parts: Iterable[int], group: int | None) -> dict[str, Any]:
        with translated(self._where(run_id)):
            try:
                answer = self._db.update_item(
                    TableName=self._table,
                    Key=_part_address(run_id, name, group),
                    UpdateExpression="ADD #done :parts",
                    ConditionExpression="attribute_exists(#token)",
                    ExpressionAttributeNames=_names(("done", "token")),
                    ExpressionAttributeValues={":parts": _set(parts)},
                    ReturnValues="ALL_NEW",
                )
            except self._db.exceptions.ConditionalCheckFailedException:
                raise NotFound(
                    f"Run {run_id!r} has not begun its pass {name!r}", code="pass-not-found"
                ) from None
        item: dict[str, Any] = answer["Attributes"]
        return item

    def parts(self, run_id: str, name: str, group: int | None = None) -> Parts | None:
        """Return who has which parts (of the group) and which are done; ``None`` if it never began."""
        key = _part_address(run_id, name, group)
        with translated(self._where(run_id)):
            answer = self._db.query(
                TableName=self._table,
                KeyConditionExpression="pk = :pk AND sk = :sk",
                ExpressionAttributeValues={":pk": key["pk"], ":sk": key["sk"]},
                ConsistentRead=True,
            )
        return _parts(answer["Items"][0]) if answer["Items"] else None

    def parts_done(self, run_id: str, name: str) -> frozenset[int]:
        """Return which parts of a pass are done, in its groups too, with a request for each of them."""
        parts = self.parts(run_id, name)
        return self._done_with_groups(run_id, name, parts) if parts is not None else frozenset()

    def _done_with_groups(self, run_id: str, name: str, parts: Parts) -> frozenset[int]:
        groups = (self.parts(run_id, name, group) for group in range(parts.groups))
        return parts.done.union(*(group.done for group in groups if group is not None))

    def add_usage(self, run_id: str, usage: Usage) -> None:
        """Add to what the run used."""
        with translated(self._where(run_id)):
            self._db.update_item(
                TableName=self._table,
                Key=_address(f"{run_id}#usage", usage.function),
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


_ADDED = ("invocations", "billed_ms", "cpu_ms", *REQUESTS)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _address(run_id: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": f"run#{run_id}"}, "sk": {"S": sk}}


def _part_address(run_id: str, name: str, group: int | None) -> dict[str, Any]:
    """Return where the parts of a pass, or of one of its groups, are counted."""
    if group is None:
        return _address(run_id, f"pass#{name}")
    return _address(f"{run_id}#{name}#{group}", "group")


def _names(names: Iterable[str]) -> dict[str, str]:
    return {f"#{name}": name for name in names}


def _set(parts: Iterable[int]) -> dict[str, Any]:
    return {"NS": [str(part) for part in sorted(parts)]}


def _numbers(item: Mapping[str, Any], name: str) -> list[int]:
    return sorted(int(part) for part in item.get(name, {}).get("NS", []))


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
    done, token = frozenset(_numbers(item, "done")), item["token"]["S"]
    if "parts" in item:
        parts = _numbers(item, "parts")
        # A worker of groups that were dealt otherwise may have marked a part of another one.
        done, total, begun = done.intersection(parts), len(parts), token
    else:
        total, begun = int(item["total"]["N"]), token_digest(token)
        skip = frozenset(_numbers(item, "skip"))
        parts = [part for part in range(total) if part not in skip]
    return Parts(
        total=total,
        begun=begun,
        done=done,
        claimed={int(ticket): parts[int(place["N"])] for ticket, place in item["claims"]["M"].items()},
        left=int(item["places"]["N"]) - int(item["next"]["N"]),
        groups=int(item["groups"]["N"]) if "groups" in item else 0,
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
