"""DynamoDB as the ports of :mod:`millrace.streams.ports`: one table whose items expire.

======================  ==================================================================
``pk``                  what
======================  ==================================================================
``identity#<sha256>``   ``object``: the key of the object that the identity belongs to
``object#<key>``        the object's outcomes are published; rows of a dataset that wait for a training
                        have ``dataset``, ``since``, ``rows`` and ``size_bytes`` until one has taken them
``lease#<name>``        ``holder``: who alone does what the name says
======================  ==================================================================

``expires_at`` is when an item may be forgotten, in seconds since 1970; DynamoDB deletes it some time after.
What waits has none. The index ``by_dataset`` (``dataset``, ``since``) has only what waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from millrace.aws.clients import client
from millrace.aws.errors import error_code, translated
from millrace.errors import TransientError
from millrace.streams.ports import Batch

__all__ = ["DynamoLedger"]

INDEX = "by_dataset"


class DynamoLedger:
    """The ledger in one table.

    Parameters
    ----------
    table : str
        The table's name.
    keep_s : float
        How long an identity is remembered.
    dynamodb : botocore client, optional
        Built on first use when absent.
    clock : callable
        Seconds since 1970.
    """

    def __init__(
        self, table: str, keep_s: float, dynamodb: Any = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._table = table
        self._keep_s = keep_s
        self._given = dynamodb
        self._clock = clock

    @property
    def _db(self) -> Any:
        return self._given if self._given is not None else client("dynamodb")

    def claim(self, identity: str, object_key: str) -> str:
        """Give the identity to ``object_key`` unless it has one; return the object that it belongs to."""
        item = self._address(f"identity#{identity}") | {"object": {"S": object_key}, **self._expiry()}
        with translated(self._where(identity)):
            if self._if(
                self._db.put_item,
                TableName=self._table,
                Item=item,
                # An item may outlive its time by days; then it is as good as gone.
                ConditionExpression="attribute_not_exists(pk) OR expires_at < :now",
                ExpressionAttributeValues={":now": {"N": str(int(self._clock()))}},
            ):
                return object_key
            found = self._read(f"identity#{identity}")
        if found is None:  # it expired between the two calls
            raise TransientError(
                "The identity has just been forgotten", code="record-taken", where=self._where(identity)
            )
        owner: str = found["object"]["S"]
        return owner

    def move(self, identity: str, source: str, target: str) -> bool:
        """Give the identity to another object; ``False`` when it belongs to neither of the two any more.

        It may belong to ``target`` already: when the first answer was lost, and boto3 asked again.
        """
        with translated(self._where(identity)):
            return self._if(
                self._db.update_item,
                TableName=self._table,
                Key=self._address(f"identity#{identity}"),
                UpdateExpression="SET #object = :target",
                ConditionExpression="#object IN (:source, :target)",
                ExpressionAttributeNames={"#object": "object"},
                ExpressionAttributeValues={":source": {"S": source}, ":target": {"S": target}},
            )

    def published(self, object_key: str) -> bool:
        """Tell whether all of the object's outcomes are known to be on the output stream."""
        with translated(self._where(object_key)):
            return self._read(f"object#{object_key}") is not None

    def mark_published(self, object_key: str) -> None:
        """Note that all of the object's outcomes are on the output stream."""
        with translated(self._where(object_key)):
            self._db.put_item(
                TableName=self._table, Item=self._address(f"object#{object_key}") | self._expiry()
            )

    def mark_pending(self, batch: Batch) -> None:
        """Note that the object's rows wait for a training; nothing changes when that was noted before."""
        item = self._address(f"object#{batch.key}") | {
            "dataset": {"S": batch.dataset},
            "since": {"S": batch.since},
            "rows": {"N": str(batch.rows)},
            "size_bytes": {"N": str(batch.size_bytes)},
        }
        with translated(self._where(batch.key)):
            self._if(
                self._db.put_item,
                TableName=self._table,
                Item=item,
                ConditionExpression="attribute_not_exists(pk)",
            )

    def pending(self, dataset: str) -> list[Batch]:
        """Return the dataset's batches that wait, those that arrived first at the beginning.

        The index lags by a moment: a batch that was just noted may be missing, one that was just taken be
        there still.
        """
        found: list[Batch] = []
        page: dict[str, Any] = {}
        while True:
            with translated(self._where(f"dataset {dataset}")):
                answer = self._db.query(
                    TableName=self._table,
                    IndexName=INDEX,
                    KeyConditionExpression="dataset = :dataset",
                    ExpressionAttributeValues={":dataset": {"S": dataset}},
                    **page,
                )
            found += [
                Batch(
                    key=item["pk"]["S"].removeprefix("object#"),
                    dataset=dataset,
                    rows=int(item["rows"]["N"]),
                    since=item["since"]["S"],
                    size_bytes=int(item["size_bytes"]["N"]),
                )
                for item in answer["Items"]
            ]
            if "LastEvaluatedKey" not in answer:
                return found
            page = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def take(self, object_key: str) -> None:
        """Note that the object's rows wait no more; it leaves the index and may be forgotten in time."""
        with translated(self._where(object_key)):
            self._db.update_item(
                TableName=self._table,
                Key=self._address(f"object#{object_key}"),
                UpdateExpression="SET expires_at = :at REMOVE dataset, since",
                ExpressionAttributeValues={":at": self._expiry()["expires_at"]},
            )

    def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Let ``holder`` alone do what ``name`` says for so long; ``False`` while another one does."""
        now = int(self._clock())
        item = self._address(f"lease#{name}") | {
            "holder": {"S": holder},
            "expires_at": {"N": str(now + int(seconds))},
        }
        with translated(self._where(name)):
            return self._if(
                self._db.put_item,
                TableName=self._table,
                Item=item,
                ConditionExpression="attribute_not_exists(pk) OR expires_at <= :now OR holder = :holder",
                ExpressionAttributeValues={":now": {"N": str(now)}, ":holder": {"S": holder}},
            )

    def release(self, name: str, holder: str) -> None:
        """Give the lease back before its time."""
        with translated(self._where(name)):
            self._if(
                self._db.update_item,
                TableName=self._table,
                Key=self._address(f"lease#{name}"),
                UpdateExpression="SET expires_at = :now",
                ConditionExpression="holder = :holder",
                ExpressionAttributeValues={
                    ":now": {"N": str(int(self._clock()))},
                    ":holder": {"S": holder},
                },
            )

    def _if(self, call: Callable[..., Any], **request: Any) -> bool:
        """Make a conditional write; ``False`` when its condition does not hold."""
        try:
            call(**request)
        except self._db.exceptions.ClientError as error:
            if error_code(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _read(self, name: str) -> dict[str, Any] | None:
        answer = self._db.get_item(TableName=self._table, Key=self._address(name), ConsistentRead=True)
        item: dict[str, Any] | None = answer.get("Item")
        return item

    def _address(self, name: str) -> dict[str, Any]:
        return {"pk": {"S": name}}

    def _expiry(self) -> dict[str, Any]:
        return {"expires_at": {"N": str(int(self._clock() + self._keep_s))}}

    def _where(self, name: str) -> str:
        return f"{name} in table {self._table}"
