"""One schema for the whole file, from the profiles of its chunks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest

from millrace import keys
from millrace.contracts import Layout, ObjectStore, Run, RunStore, Schema, decode, encode
from millrace.errors import NotFound
from millrace.profile import Profile, decide_schema, merge
from millrace.registry.changes import changes, of_schema, of_version
from millrace.registry.registry import Registry
from millrace.registry.versions import Version
from millrace.runs.progress import read_layout, read_parts, rejects_uri, told, write_json
from millrace.runs.updating import instead, planned

__all__ = ["decide"]

MOST_CHANGES = 20
"""Changes of the schema that a run's warnings tell one by one."""


def decide(run_id: str, *, artifacts: ObjectStore, runs: RunStore) -> Schema:
    """Merge the profiles, decide the schema, and note target, task and warnings on the run.

    Raises
    ------
    BadInput
        The spec asks for what the file does not have, or nothing can be learned from the file.
    RuntimeError
        A record was lost. That is a fault of ours, never of the file.
    """
    run = runs.get(run_id)
    layout = read_layout(run_id, artifacts)
    profile = merge(_profiles(run_id, layout, artifacts))
    write_json(artifacts, keys.profile(run_id), profile)
    runs.update(  # first, for a file that is refused has been read too
        run_id,
        rows_read=profile.rows_read,
        rows_kept=profile.rows,
        rows_rejected=profile.rejects,
        rejects=rejects_uri(run_id, artifacts, profile.rejects),
    )
    schema = decide_schema(profile, layout, run.spec)
    write_json(artifacts, keys.schema(run_id), schema)
    changed = _changes(run, schema, artifacts)
    if run.spec.on_new_file == "update":
        update = planned(run, schema, profile.rows, artifacts)
        if update.why:
            changed = (*changed, instead(update.why))
    runs.update(run_id, target=schema.target, task=schema.task, warnings=(*changed, *told(schema)))
    return schema


def _changes(run: Run, schema: Schema, artifacts: ObjectStore) -> tuple[str, ...]:
    """Note how the file differs from what the live version takes; return it as sentences.

    It stands beside the schema, not in it: the same file and spec give the same schema whatever is live.
    """
    registry = Registry(artifacts)
    live = registry.live(run.dataset)
    if live is None:
        return ()
    version = registry.version(run.dataset, live.version)
    # A column that the last file had and the model did without, as one that gave the target away, is not new.
    known = _columns(version, artifacts)
    found = [
        change
        for change in changes(of_version(version), of_schema(schema))
        if change.kind != "added" or change.column not in known
    ]
    write_json(artifacts, keys.schema_change(run.run_id), [encode(change) for change in found])
    if not found:
        return ()
    sentences = [change.says for change in found[:MOST_CHANGES]]
    if len(found) > MOST_CHANGES:
        sentences.append(f"{len(found) - MOST_CHANGES} more changes stand in schema_change.json.")
    if any(change.rejects for change in found) and not run.spec.allow_schema_change:
        sentences.append(
            f"So the new version will not go live by itself in the place of version {live.version}, whose "
            "callers it would fail; allow_schema_change in spec.json lets it."
        )
    return tuple(sentences)


def _columns(version: Version, artifacts: ObjectStore) -> frozenset[str]:
    try:
        schema = json.loads(artifacts.get(keys.version(version.model, version.version, "schema.json")))
    except NotFound:
        return frozenset()
    return frozenset(column["name"] for column in schema["columns"])


def _profiles(run_id: str, layout: Layout, artifacts: ObjectStore) -> Iterator[Profile]:
    """Yield the chunks' profiles; each must have read the records that were found in its chunk."""
    parts = read_parts(artifacts, [keys.part(run_id, "profile", chunk.number) for chunk in layout.chunks])
    for chunk, following, data in zip_longest(layout.chunks, layout.chunks[1:], parts):
        part = decode(Profile, json.loads(data))
        if following is not None and part.rows_read != following.first_record - chunk.first_record:
            raise RuntimeError(
                f"Chunk {chunk.number} has {following.first_record - chunk.first_record} records, and "
                f"{part.rows_read} were profiled"
            )
        yield part
