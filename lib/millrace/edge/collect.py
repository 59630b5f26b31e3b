"""Records of the stream ``rows`` that bring rows for a dataset.

A record is a JSON object: ``dataset``; ``id``, by which it is collected once (without it, by its place on
the stream); and ``row``, ``rows`` or ``csv``, a text in CSV with a header. Or it is that CSV text itself,
under the partition key ``dataset/<name>`` or ``dataset/<name>/<id>``. A row has the fields of the dataset's
live model, its target, and what other columns the training file has.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from millrace.errors import BadInput, MillraceError, NotFound
from millrace.runs.ingest import DATASET
from millrace.streams import Delivery, identity_of
from millrace.streams.labelled import Labelled

if TYPE_CHECKING:
    from millrace.contracts import ObjectStore
    from millrace.edge.score import Arrival
    from millrace.registry.reader import Reader

__all__ = ["LiveSignatures", "dataset_of_partition_key", "delivery_of", "is_dataset"]

CSV_KEY = "dataset/"
"""What the partition key of a record of CSV begins with."""
MAX_WRONG = 100
"""Values that a refusal lists at most."""
_FIELDS = frozenset(("csv", "dataset", "id", "row", "rows"))
_ROWS = ("row", "rows", "csv")
_REMEDY = 'Send {"dataset": "<name>", "id": "<yours>", "row": {"<column>": <value>, …}}.'


def is_dataset(name: Any) -> bool:
    """Tell whether a dataset can be called so."""
    return isinstance(name, str) and DATASET.fullmatch(name) is not None


def dataset_of_partition_key(partition_key: str) -> str | None:
    """Return the dataset that a partition key names, and by that says that the data is CSV."""
    if not partition_key.startswith(CSV_KEY):
        return None
    name = partition_key[len(CSV_KEY) :].partition("/")[0]
    return name if is_dataset(name) else None


class LiveSignatures:
    """What rows of a dataset must look like, by its live version; each version is read once.

    Parameters
    ----------
    reader : Reader
        Follows what is live.
    artifacts : ObjectStore
        Holds what a version says of its target.
    """

    def __init__(self, reader: Reader, artifacts: ObjectStore) -> None:
        self.reader = reader
        self._artifacts = artifacts
        self._known: dict[str, tuple[int, Labelled]] = {}

    def of(self, dataset: str) -> tuple[int, Labelled]:
        """Return the live version's number, and what it asks of rows.

        Raises
        ------
        NotFound
            Nothing of the dataset is live.
        BadInput
            Its model was trained elsewhere.
        """
        try:
            served = self.reader.alias(dataset)
        except NotFound as error:
            if error.code not in ("model-unknown", "alias-unknown"):
                raise
            raise NotFound(
                f"The dataset {dataset!r} has no live model yet to check rows against",
                code="dataset-untrained",
                where="field 'dataset'",
                remedy=f"Upload its first file to datasets/{dataset}/, wait until the run has succeeded, and "
                "send the record again.",
            ) from None
        known = self._known.get(dataset)
        if known is None or known[0] != served.version:
            known = served.version, self._labelled(dataset, served.version, served.content[0].signature)
            self._known[dataset] = known
        return known

    def _labelled(self, dataset: str, number: int, signature: Any) -> Labelled:
        from millrace.registry.registry import Registry

        version = Registry(self._artifacts).version(dataset, number)
        if version.target not in signature.known:
            raise BadInput(
                f"The model {dataset!r} was trained elsewhere: there is no dataset to add rows to",
                code="dataset-untrained",
                where="field 'dataset'",
                remedy="Collect rows under the name of a dataset that was uploaded here.",
            )
        target: dict[str, Any] = {"name": version.target, "type": "number", "format": version.target_format}
        if version.task != "regression":
            target = {"name": version.target, "type": "category", "categories": list(version.classes)}
        return Labelled(signature, target)


def delivery_of(arrival: Arrival, signatures: LiveSignatures) -> Delivery:
    """Check one record; one that is wrong is a delivery with its reason.

    Raises
    ------
    TransientError
        A service refuses for the moment.
    Misconfigured
        The model's plan cannot be used, or the deployment is wrong: no fault of the record.
    """
    dataset, source = arrival.dataset, arrival.source
    assert dataset is not None
    shown, identity = identity_of(None, None, source)

    def refused(error: Mapping[str, Any]) -> Delivery:
        return Delivery(dataset, source, shown, identity, arrival.record, error=error)

    try:
        if arrival.error is not None:
            raise arrival.error
        given = _id(arrival)
        shown, identity = identity_of(f"dataset/{dataset}", given, source)
        rows = _rows(arrival.body)
        version, labelled = signatures.of(dataset)
    except (BadInput, NotFound) as error:
        return refused(_described(error))
    cells: list[Mapping[str, str]] = []
    wrong: list[dict[str, object]] = []
    for number, row in enumerate(rows):
        made, found = labelled.cells(number, row)
        cells.append(made)
        wrong += found
    if wrong:
        first = wrong[0]
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        message = f"Row {first['row']}, field {first['field']!r}: {str(first['message']).rstrip('.')}{more}."
        return refused({"code": first["code"], "message": message, "values": wrong[:MAX_WRONG]})
    return Delivery(dataset, source, shown, identity, arrival.record, version, cells)


def _described(error: MillraceError) -> dict[str, Any]:
    return {"code": error.code, "message": str(error), "values": []}


def _id(arrival: Arrival) -> Any:
    """Return the id that the producer gave the record; ``None`` when it gave none."""
    if isinstance(arrival.body, str):
        _, _, rest = arrival.record["partition_key"].removeprefix(CSV_KEY).partition("/")
        return rest or None
    return arrival.body.get("id")


def _rows(body: Any) -> Sequence[Mapping[str, Any]]:
    """Return a record's rows.

    Raises
    ------
    BadInput
        It has none, or they are no rows.
    """
    if isinstance(body, str):
        return _read_csv(body, "the record")
    if unknown := sorted(body.keys() - _FIELDS):
        raise _malformed(f"Unknown field {unknown[0]!r:.80}", "field-unknown", "the record")
    given = [name for name in _ROWS if name in body]
    if len(given) != 1:
        what = f"There are the fields {given}: one is needed" if given else "The field 'row' is missing"
        raise _malformed(what, "rows-missing", "the record")
    value = body[given[0]]
    if given[0] == "csv":
        if not isinstance(value, str):
            raise _malformed("'csv' is not a text", "body-not-csv", "field 'csv'")
        return _read_csv(value, "field 'csv'")
    if given[0] == "row":
        value = [value]
    elif not isinstance(value, list):
        raise _malformed("'rows' is not a list of objects", "rows-not-a-list", "field 'rows'")
    if not value:
        raise _malformed("There are no rows", "rows-empty", "field 'rows'")
    for number, row in enumerate(value):
        if not isinstance(row, dict):
            raise _malformed(f"Row {number} is not an object", "row-not-an-object", f"row {number}")
    return value


def _read_csv(text: str, where: str) -> Sequence[Mapping[str, str]]:
    from millrace.edge.predict.table import columns_of

    source = io.StringIO(text.removeprefix("\ufeff"), newline="")
    try:
        records = [record for record in csv.reader(source, strict=True) if record]
    except csv.Error as error:
        raise _malformed(f"The text is not CSV: {error}", "body-not-csv", where) from None
    columns = columns_of(records[0] if records else [], records[1:])
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _malformed(what: str, code: str, where: str) -> BadInput:
    return BadInput(what, code=code, where=where, remedy=_REMEDY)
