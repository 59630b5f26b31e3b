"""Whether a run lets the live version learn its new rows, or searches anew: as far as can be told beforehand.

The rest is seen where the rows are (:mod:`millrace.training.update`), and a search takes its place then, too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from millrace import keys
from millrace.contracts import ObjectStore, Run, Schema, Update, decode, encode
from millrace.errors import NotFound
from millrace.features.search import drawn_rows
from millrace.registry.register import code_version
from millrace.registry.registry import Registry
from millrace.registry.versions import Version
from millrace.runs.progress import write_json

__all__ = ["MOST_GROWTH", "MOST_UPDATES", "instead", "planned", "read_update"]

MOST_UPDATES = 10
"""Updates, one after the other, after which a search is due."""
MOST_GROWTH = 2.0
"""How many times the records of the last search there may be; then a search is due."""


def planned(run: Run, schema: Schema, rows: int, artifacts: ObjectStore) -> Update:
    """Decide once whether the run updates the live version, write it down, and return it.

    Parameters
    ----------
    run : Run
        Whose spec asks for updates.
    schema : Schema
        What was decided of its source.
    rows : int
        Rows of the source.
    artifacts : ObjectStore
        The artifact bucket.
    """
    found = read_update(run, artifacts)
    if found is not None:
        return found
    decided = _decide(run, schema, rows, artifacts)
    if write_json(artifacts, keys.update(run.run_id), decided, only_if_absent=True):
        return decided
    return read_update(run, artifacts) or decided


def read_update(run: Run, artifacts: ObjectStore) -> Update | None:
    """Return what was decided; None where nothing is, or the spec does not ask for updates."""
    if run.spec.on_new_file != "update":
        return None
    try:
        return decode(Update, json.loads(artifacts.get(keys.update(run.run_id))))
    except NotFound:
        return None


def instead(why: str) -> str:
    """Return the sentence that says why there is a search, although the spec asks for an update."""
    return f"The run searches anew instead of updating the live version: {why}."


def _decide(run: Run, schema: Schema, rows: int, artifacts: ObjectStore) -> Update:
    registry = Registry(artifacts)
    live = registry.live(run.dataset)
    if live is None:
        return Update()
    version = registry.version(run.dataset, live.version)
    parts = _parts(run.run_id, artifacts)
    known = _known(version, parts)
    records = sum(part["records"] for part in parts)
    why = _why_not(run, version, parts, known, schema, rows, registry, artifacts)
    if why:
        return Update(None, f"version {version.version} {why}")
    return Update(version.version, "", sum(part["records"] for part in parts[:known]), records)


def _parts(run_id: str, artifacts: ObjectStore) -> list[dict[str, Any]]:
    try:
        parts: list[dict[str, Any]] = json.loads(artifacts.get(keys.run_parts(run_id)))["parts"]
    except NotFound:  # a single file
        return []
    return parts


def _known(version: Version, parts: Sequence[dict[str, Any]]) -> int:
    """Return how many of the files the version knows; 0 if they are not the first ones."""
    of_version = [part["run_id"] for part in version.lineage.parts] if version.lineage else []
    of_version = of_version or [version.run_id]
    return len(of_version) if [part["run_id"] for part in parts[: len(of_version)]] == of_version else 0


def _why_not(
    run: Run,
    version: Version,
    parts: Sequence[dict[str, Any]],
    known: int,
    schema: Schema,
    rows: int,
    registry: Registry,
    artifacts: ObjectStore,
) -> str:
    """Return why the version cannot learn the new rows, as the end of a sentence; nothing if it can."""
    made = version.lineage
    if made is None or not known:
        return "was not made of the first of these files"
    if known == len(parts):
        return "knows all of these rows"
    if made.spec != encode(run.spec):
        return "was made under another spec.json"
    if made.code != code_version():
        return "was made by another version of Millrace"
    if schema.group_column or schema.weight_column or schema.class_weight == "balanced":
        return "weighs rows or keeps groups of them together, which new rows change"
    if rows > drawn_rows(run.spec.budget):
        return "would have to learn from more rows than training takes at once"
    changed = _changed(version, schema, artifacts)
    if changed:
        return f"was made under another schema: {changed}"
    last = version.lineage.updated if version.lineage else None
    if last is not None and last.updates >= MOST_UPDATES:
        return f"was updated {last.updates} times since the last search"
    records = sum(part["records"] for part in parts)
    searched = version if last is None else registry.version(version.model, last.searched)
    base = _known(searched, parts)
    if records > MOST_GROWTH * sum(part["records"] for part in parts[:base]):
        return f"would know {MOST_GROWTH:g} times the rows of the last search, and more"
    return ""


def _changed(version: Version, schema: Schema, artifacts: ObjectStore) -> str:
    """Return the first difference between the version's schema and this one; more categories are none."""
    try:
        data = artifacts.get(keys.version(version.model, version.version, "schema.json"))
    except NotFound:
        return "it is not known any more"
    before = decode(Schema, json.loads(data))
    whole = ("target", "task", "metric", "classes", "positive_class", "time_column", "loss", "quantile")
    for name in whole:
        if getattr(before, name) != getattr(schema, name):
            return f"{name.replace('_', ' ')} was {getattr(before, name)!r} and is {getattr(schema, name)!r}"
    columns = {column.name: column for column in before.columns}
    for column in schema.columns:
        old = columns.pop(column.name, None)
        if old is None:
            return f"the column {column.name!r} is new"
        for name in ("type", "role", "format"):
            if getattr(old, name) != getattr(column, name):
                return (
                    f"{name} of {column.name!r} was {getattr(old, name)!r} and is {getattr(column, name)!r}"
                )
    return f"the column {next(iter(columns))!r} is gone" if columns else ""
