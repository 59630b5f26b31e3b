"""What the gate asks a run's new version: everything that it looks at is read and measured here."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from millrace import keys, plan
from millrace.contracts import ObjectStore, Run, Schema, decode, encode, read_schema
from millrace.errors import BadInput, NotFound
from millrace.registry.changes import changes, of_version
from millrace.registry.gate import Limits, Verdict, judge
from millrace.registry.registry import Registry
from millrace.registry.versions import Version

if TYPE_CHECKING:
    from millrace.features.blocks import Table
    from millrace.registry.trial import Trial

__all__ = ["LATENCY_MS", "Gate"]

LATENCY_MS = 100.0
"""Milliseconds that a row may take, unless the spec says otherwise."""
HELD_SHARE = 0.5
"""Share of predict's memory that models may take, as ``predict`` has it."""


class Gate:
    """Judges a run's version against whatever is live when it is asked.

    Parameters
    ----------
    version : Version
        The challenger.
    run : Run
        Which made it.
    data : bytes
        Its plan.
    artifacts : ObjectStore
        The artifact bucket.
    registry : Registry
        Over the same bucket.
    predict_memory_mb : int
        Memory of the function that answers.
    """

    def __init__(
        self,
        version: Version,
        run: Run,
        data: bytes,
        artifacts: ObjectStore,
        registry: Registry,
        predict_memory_mb: int,
    ) -> None:
        self._version = version
        self._run = run
        self._plan = data
        self._artifacts = artifacts
        self._registry = registry
        self._limits = Limits(
            LATENCY_MS if run.spec.max_latency_ms is None else run.spec.max_latency_ms,
            int(HELD_SHARE * predict_memory_mb * (1 << 20)),
        )
        self._found: dict[str, Any] = {}

    def __call__(self, live: Version | None) -> Verdict:
        """Return the verdict, and remember what it rests on."""
        from millrace.registry.trial import measure

        schema, table = self._held_out()
        footprint = None if table is None else measure(self._plan, table)
        found = changes(of_version(live), of_version(self._version, schema)) if live else ()
        trial = None if live is None or table is None else self._trial(live, table, schema)
        verdict = judge(
            self._version,
            live,
            changes=found,
            allow_changes=self._run.spec.allow_schema_change,
            footprint=footprint,
            limits=self._limits,
            trial=trial,
        )
        self._found = {
            "promoted": verdict.promote,
            "reason": verdict.reason,
            "against": live.version if live else None,
            "changes": encode(found),
            "footprint": None if footprint is None else asdict(footprint),
            "limits": asdict(self._limits),
            "trial": None if trial is None else asdict(trial),
        }
        return verdict

    def keep(self) -> None:
        """Write what the verdict rests on beside the version; nothing when an earlier call has decided."""
        if self._found:
            text = json.dumps(self._found, ensure_ascii=False, allow_nan=False, indent=1)
            self._registry.note_trial(self._version, text.encode())

    def _held_out(self) -> tuple[Schema, Table | None]:
        from millrace.features.blocks import read_blocks

        schema = read_schema(self._run.run_id, self._artifacts).of_plan(self._version.signature)
        try:
            block = self._artifacts.get(keys.held_out(self._run.run_id))
        except NotFound:  # a run from before there were any
            return schema, None
        return schema, read_blocks([block], schema)

    def _trial(self, live: Version, table: Table, schema: Schema) -> Trial | None:
        """Let both answer the rows that neither was trained on; ``None`` where they cannot be compared so."""
        import numpy as np

        from millrace.registry.trial import trial, unseen

        if (live.target, live.task) != (self._version.target, self._version.task):
            return None
        try:
            read = {
                name: self._artifacts.get(keys.version(live.model, live.version, name))
                for name in ("model.plan", "schema.json", keys.TRAINED_ON)
            }
            champion = plan.read(read["model.plan"])
        except (NotFound, BadInput):  # from elsewhere, or from before this was kept
            return None
        trained = np.load(io.BytesIO(read[keys.TRAINED_ON]), allow_pickle=False)
        under = decode(Schema, json.loads(read["schema.json"])).of_plan(live.signature)
        rows = unseen(table, schema, trained=trained, trained_under=under)
        if rows is None:
            return None
        return trial(
            table,
            schema,
            rows,
            challenger=plan.read(self._plan),
            champion=champion,
            metric=self._version.metric,
            left_out=len(table) - len(rows),
            seed=self._version.seed,
        )
