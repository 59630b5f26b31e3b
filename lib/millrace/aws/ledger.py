"""DynamoDB as :class:`millrace.streams.ports.Ledger`: one table whose items expire.

======================  ==================================================================
``pk``                  what
======================  ==================================================================
``identity#<sha256>``   ``object``: the key of the object that the identity belongs to
``object#<key>``        the object's outcomes are on the output stream
======================  ==================================================================

``expires_at`` is when an item may be forgotten, in seconds since 1970; DynamoDB deletes it some time after.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from millrace.aws.clients import client
from millrace.aws.errors import error_code, translated
from millrace.errors import TransientError

__all__ = ["DynamoLedger"]


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
            try:
                self._db.put_item(
                    TableName=self._table,
                    Item=item,
                    # An item may outlive its time by days; then it is as good as gone.
                    ConditionExpression="attribute_not_exists(pk) OR expires_at < :now",
                    ExpressionAttributeValues={":now": {"N": str(int(self._clock()))}},
                )
            except self._db.exceptions.ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
            else:
                return object_key
            found = self._read(f"identity#{identity}")
        if found is None:  # it expired between the two calls
            raise TransientError(
                "The identity has just been forgotten", code="record-taken", where=self._where(identity)
            )
        owner: str = found["object"]["S"]
        return owner

    def move(self, identity: str, source: str, target: str) -> bool:
        """Give the identity to another object; ``False`` when it does not belong to ``source`` any more."""
        with translated(self._where(identity)):
            try:
                self._db.update_item(
                    TableName=self._table,
                    Key=self._address(f"identity#{identity}"),
                    UpdateExpression="SET #object = :target",
                    ConditionExpression="#object = :source",
                    ExpressionAttributeNames={"#object": "object"},
                    ExpressionAttributeValues={":source": {"S": source}, ":target": {"S": target}},
                )
            except self._db.exceptions.ClientError as error:
                if error_code(error) == "ConditionalCheckFailedException":
                    return False
                raise
        return True

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
