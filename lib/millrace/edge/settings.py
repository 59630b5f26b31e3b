"""What each function reads from its environment: one frozen class per function.

A test pairs these fields with the ``Environment`` blocks of ``template.yaml``. ``predict`` is the
exception: it reads its few variables itself, because importing this module would cost it time.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from millrace.errors import Misconfigured


@dataclass(frozen=True)
class Settings:
    """Common to every function but ``predict``."""

    artifact_bucket: str
    table: str
    stage: str

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Read ``MILLRACE_<FIELD>`` for each field.

        Raises
        ------
        Misconfigured
            When a variable is absent or is not of its field's type.
        """
        hints = typing.get_type_hints(cls)
        values: dict[str, object] = {}
        for field in dataclasses.fields(cls):
            name = f"MILLRACE_{field.name.upper()}"
            text = environ.get(name)
            if text is None:
                raise Misconfigured(
                    f"The environment variable {name} is not set",
                    code="setting-missing",
                    remedy="Deploy the function from template.yaml.",
                )
            try:
                values[field.name] = hints[field.name](text)
            except ValueError:
                raise Misconfigured(
                    f"The environment variable {name} is {text!r}, not a {hints[field.name].__name__}",
                    code="setting-type",
                    remedy="Correct the parameter of the stack.",
                ) from None
        return cls(**values)  # type: ignore[arg-type]


@dataclass(frozen=True)
class IngestSettings(Settings):
    """``ingest``."""

    data_bucket: str
    state_machine_arn: str
    max_file_bytes: int


MAP_LANES = 40
"""Iterations of an inline Map that run at once (Step Functions developer guide, "Map workflow state")."""

MAX_CUT = 1000
"""Most chunks that a file is cut into for the sake of the lanes: no more run at once in an account that has
not asked for more (Lambda quotas, "Concurrent executions")."""


@dataclass(frozen=True)
class FanOutSettings(Settings):
    """``fan_out``; either ``stream`` or ``chunk_machine_arn`` is empty."""

    data_bucket: str
    stream: str
    chunk_machine_arn: str
    shard_count: int
    parallelization_factor: int
    group_tickets: int
    max_file_bytes: int
    min_chunk_bytes: int
    max_chunk_bytes: int

    @property
    def lanes(self) -> int:
        """How many chunks are worked on at once; a template cannot multiply, so it is done here."""
        if not self.stream:
            return MAP_LANES
        return self.shard_count * self.parallelization_factor

    @property
    def width(self) -> int:
        """How many chunks a large file is cut into: four for each lane, so that none is the last for long."""
        return min(4 * self.lanes, MAX_CUT)

    @property
    def tickets(self) -> int:
        """How many tickets go round for the chunks of one pass.

        A shard's lanes get them by the hash of a key: with three for each lane, 1 in 20 gets none and has
        nothing to do, with two 1 in 8. Without a stream 0: a Map hands out the chunks to whoever is free.
        """
        return min(3 * self.lanes, 3 * MAX_CUT) if self.stream else 0


@dataclass(frozen=True)
class PreprocessSettings(Settings):
    """``preprocess``; ``stream`` is empty in a stack without one."""

    data_bucket: str
    stream: str
    heartbeat_s: int


@dataclass(frozen=True)
class DecideSettings(Settings):
    """``decide``."""


@dataclass(frozen=True)
class CollectSettings(Settings):
    """``collect``: the share of rejected records above which a run stops before training."""

    max_reject_share: float


@dataclass(frozen=True)
class AssembleSettings(Settings):
    """``assemble``."""

    data_bucket: str


@dataclass(frozen=True)
class ScoreSettings(Settings):
    """``score``; ``ledger`` and ``results`` are empty in a stack without the streams."""

    data_bucket: str
    state_machine_arn: str
    max_file_bytes: int
    freshness_s: float
    ledger: str
    ledger_days: int
    results: str


@dataclass(frozen=True)
class TrainSettings(Settings):
    """``train``: seconds after which an invocation stores how far it is, and the next one goes on."""

    train_seconds: float


@dataclass(frozen=True)
class SelectSettings(Settings):
    """``select``; ``train_seconds`` as for ``train``."""

    train_seconds: float


@dataclass(frozen=True)
class ReportSettings(Settings):
    """``report``."""


@dataclass(frozen=True)
class RegisterSettings(Settings):
    """``register``: the memory of the function that answers, into which a version must fit."""

    predict_memory_mb: int


@dataclass(frozen=True)
class FinishSettings(Settings):
    """``finish``."""


@dataclass(frozen=True)
class ChunkFailedSettings(Settings):
    """``chunk_failed``; ``stream`` is empty in a stack without one."""

    stream: str


@dataclass(frozen=True)
class ReconcileSettings(Settings):
    """``reconcile``."""

    state_machine_arn: str


@dataclass(frozen=True)
class RetrainSettings(Settings):
    """``retrain``: how many new rows, and how many minutes after the first of them, start a run.

    ``ledger`` is empty in a stack without the streams, which has the function for its schedule.
    """

    data_bucket: str
    state_machine_arn: str
    max_file_bytes: int
    ledger: str
    ledger_days: int
    retrain_rows: int
    retrain_after_minutes: int


@dataclass(frozen=True)
class ManageSettings(Settings):
    """``manage``."""

    data_bucket: str
    state_machine_arn: str
    max_file_bytes: int
