"""Records that bring rows for a dataset: each into its batch once, or among the rejects with a reason.

A record is taken as a whole or not at all, as ``POST /predict`` takes a request. One that is refused does
not use up its id: corrected, it may come again under the same. One whose id another record has is refused as
well, so that nobody's rows vanish without a word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from millrace import keys
from millrace.contracts import ObjectStore
from millrace.fanout.ports import DescriptorStream
from millrace.streams.commit import Publish, commit, lines_of, publisher
from millrace.streams.outcome import Outcome, Source, identity_of
from millrace.streams.ports import Ledger

__all__ = ["Collected", "Delivery", "collect", "commit_all"]


@dataclass(frozen=True)
class Delivery:
    """One record for a dataset, as it was delivered.

    Attributes
    ----------
    dataset : str
        Which one.
    source : Source
        Where on the stream it stood.
    shown, identity : str
        Its id for people, and in the ledger.
    record : mapping
        As it came: ``record``, its data in base64, and ``partition_key``.
    version : int
        Of the model whose signature its rows were held against; 0 when there was none.
    rows : sequence of mapping
        Column to cell.
    error : mapping
        Why it is refused: ``code``, ``message``, and ``values`` that are wrong; empty when it is not.
    """

    dataset: str
    source: Source
    shown: str
    identity: str
    record: Mapping[str, str]
    version: int = 0
    rows: Sequence[Mapping[str, str]] = ()
    error: Mapping[str, Any] | None = None


class Collected(NamedTuple):
    """Of a batch: rows that are in the dataset now, records that were so before, records refused now."""

    rows: int
    repeated: int
    refused: int


def collect(
    deliveries: Sequence[Delivery], name: str, *, ledger: Ledger, store: ObjectStore, publish: Publish
) -> Collected:
    """Commit a batch of records for datasets; harmless when repeated, with another name.

    Parameters
    ----------
    deliveries : sequence of Delivery
        In the order of the stream.
    name : str
        Last part of the keys to write, used for this call alone; see :func:`millrace.keys.batch_name`.
    ledger, store, publish
        As for :func:`millrace.streams.commit`.

    Raises
    ------
    TransientError
        The batch is to be delivered again.
    """
    rows = repeated = refused = 0
    for dataset in dict.fromkeys(delivery.dataset for delivery in deliveries):
        ours = [delivery for delivery in deliveries if delivery.dataset == dataset]
        fit = [delivery for delivery in ours if delivery.error is None]
        key = keys.collected_batch(dataset, name)
        made = commit(list(map(_row, fit)), key, ledger=ledger, store=store, publish=publish)
        taken = _taken(fit, made.elsewhere, store)
        again = [delivery for delivery in fit if taken[delivery.identity].source != delivery.source]
        rejects = [
            *(_reject(delivery) for delivery in ours if delivery.error is not None),
            *(_reject(_repeated(delivery, taken[delivery.identity])) for delivery in again),
        ]
        listed = commit(
            rejects, keys.collected_rejects(dataset, name), ledger=ledger, store=store, publish=publish
        )
        written = {delivery.identity: delivery for delivery in reversed(fit)}
        rows += sum(len(d.rows) for d in written.values() if d.identity not in made.elsewhere)
        repeated += len(fit) - len(again) - made.written + listed.repeated
        refused += listed.written
    return Collected(rows, repeated, refused)


def commit_all(
    outcomes: Sequence[Outcome],
    deliveries: Sequence[Delivery],
    name: str,
    *,
    ledger: Ledger,
    store: ObjectStore,
    output: DescriptorStream,
) -> dict[str, int]:
    """Commit what came of a batch, scored records and collected ones; return what there is to count.

    Parameters
    ----------
    outcomes, deliveries : sequence
        Of the records to score, and of those for datasets.
    name : str
        Last part of the keys to write, used for this call alone.
    ledger, store, output
        The ledger, the bucket of the results, and the stream that scored records go onto.
    """
    publish = publisher(ledger, store.bucket, output)
    scored = commit(outcomes, keys.streamed(name), ledger=ledger, store=store, publish=publish)
    made = collect(deliveries, name, ledger=ledger, store=store, publish=publish)
    counts = {
        "RecordsScored": scored.written,
        "RowsCollected": made.rows,
        "RecordsRepeated": scored.repeated + made.repeated,
        "RecordsRefused": made.refused + sum("error" in outcome.content for outcome in outcomes),
    }
    return {name: value for name, value in counts.items() if value}


def _row(delivery: Delivery) -> Outcome:
    content = {
        "id": delivery.shown,
        "identity": delivery.identity,
        "dataset": delivery.dataset,
        "version": delivery.version,
        "source": vars(delivery.source),
        "rows": delivery.rows,
    }
    return Outcome(delivery.identity, content)


def _reject(delivery: Delivery) -> Outcome:
    """Return a refused record, known by its place: its id is free for the record that corrects it."""
    _, place = identity_of(None, None, delivery.source)
    content = {
        "id": delivery.shown,
        "dataset": delivery.dataset,
        "source": vars(delivery.source),
        "error": delivery.error,
        **delivery.record,
    }
    return Outcome(place, content)


class _Taken(NamedTuple):
    source: Source
    rows: Sequence[Mapping[str, str]]


def _taken(fit: Sequence[Delivery], elsewhere: Mapping[str, str], store: ObjectStore) -> dict[str, _Taken]:
    """Return by identity the record that holds it, be it of this batch or of an earlier one."""
    taken: dict[str, _Taken] = {}
    for delivery in fit:
        taken.setdefault(delivery.identity, _Taken(delivery.source, delivery.rows))
    for key in set(elsewhere.values()):
        for line in lines_of(key, store):
            found = json.loads(line)
            identity = found.get("identity")
            if elsewhere.get(identity) == key:
                taken[identity] = _Taken(Source(**found["source"]), found["rows"])
    return taken


def _repeated(delivery: Delivery, first: _Taken) -> Delivery:
    where = f"{first.source.shard}:{first.source.sequence}, which arrived at {first.source.arrived_at}"
    if list(first.rows) == list(delivery.rows):
        code, message = "record-repeated", f"The same rows came under this id before, in the record {where}."
    else:
        code = "id-taken"
        message = f"Another record has this id: {where}. Send the rows under an id of their own."
    return replace(delivery, error={"code": code, "message": message})
