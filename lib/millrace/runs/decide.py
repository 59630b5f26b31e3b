"""One schema for the whole file, from the profiles of its chunks."""

from __future__ import annotations

import json
from collections.abc import Iterator

from millrace import keys
from millrace.contracts import ObjectStore, RunStore, Schema, decode
from millrace.profile import Profile, decide_schema, merge
from millrace.runs.progress import read_layout, read_parts, rejects_uri, told, write_json

__all__ = ["decide"]


def decide(run_id: str, *, artifacts: ObjectStore, runs: RunStore) -> Schema:
    """Merge the profiles, decide the schema, and note target, task and warnings on the run.

    Raises
    ------
    BadInput
        The spec asks for what the file does not have, or nothing can be learned from the file.
    """
    run = runs.get(run_id)
    layout = read_layout(run_id, artifacts)
    profile = merge(_profiles(run_id, len(layout.chunks), artifacts))
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


def _profiles(run_id: str, chunks: int, artifacts: ObjectStore) -> Iterator[Profile]:
    for data in read_parts(artifacts, [keys.part(run_id, "profile", chunk) for chunk in range(chunks)]):
        yield decode(Profile, json.loads(data))
