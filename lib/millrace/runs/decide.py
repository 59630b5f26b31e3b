"""One schema for the whole file, from the profiles of its chunks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest

from millrace import keys
from millrace.contracts import Layout, ObjectStore, RunStore, Schema, decode
from millrace.profile import Profile, decide_schema, merge
from millrace.runs.progress import read_layout, read_parts, rejects_uri, told, write_json

__all__ = ["decide"]


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
    runs.update(run_id, target=schema.target, task=schema.task, warnings=told(schema))
    return schema


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
