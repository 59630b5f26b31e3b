"""In-memory implementations of the ports; the contract suites run over these and over the adapters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from millrace.contracts import ObjectInfo, ObjectStore, Parts, PassProgress, Run, Usage, token_digest
from millrace.errors import BadInput, Conflict, MillraceError, NotFound, TransientError
from millrace.streams.ports import Batch


def make_run(run_id: str = "cars-1", **changes: Any) -> Run:
    """Return a run of the dataset that its id begins with."""
    dataset = run_id.rpartition("-")[0]
    values: dict[str, Any] = {
        "dataset": dataset,
        "bucket": "data",
        "key": f"datasets/{dataset}/ä b.csv",
        "version_id": "v1",
        "etag": "e",
        "size_bytes": 10,
        "state": "QUEUED",
        "created_at": "2026-11-20T10:00:00.000Z",
        "updated_at": "2026-11-20T10:00:00.000Z",
    }
    return Run(run_id=run_id, **(values | changes))


@dataclass
class _Version:
    data: bytes
    version_id: str
    metadata: Mapping[str, str]

    @property
    def etag(self) -> str:
        return hashlib.md5(self.data, usedforsecurity=False).hexdigest()


class MemoryObjectStore:
    """A versioned bucket in memory, with a switch to make calls fail."""

    def __init__(self, bucket: str = "bucket") -> None:
        self.bucket = bucket
        self.reads: list[tuple[str, int | None, int | None]] = []
        """Every read's key and range."""
        self.writes: list[str] = []
        """The key of each version."""
        self.failures: list[MillraceError] = []
        """Raised, first to last, by the next writes."""
        self._versions: dict[str, list[_Version]] = {}
        self._counter = 0

    def add(self, key: str, data: bytes, metadata: Mapping[str, str] | None = None) -> str:
        """Upload as a user would; return the version id."""
        self._counter += 1
        self.writes.append(key)
        version = _Version(data, f"v{self._counter}", dict(metadata or {}))
        self._versions.setdefault(key, []).append(version)
        return version.version_id

    def text(self, key: str) -> str:
        return self.get(key).decode()

    def json(self, key: str) -> Any:
        return json.loads(self.get(key))

    def get(
        self, key: str, *, version_id: str | None = None, start: int | None = None, end: int | None = None
    ) -> bytes:
        self.reads.append((key, start, end))
        if end is not None and end <= (start or 0):
            return b""
        return self._find(key, version_id).data[start or 0 : end]

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        version = self._find(key, None)
        return version.data, version.etag

    def stream(
        self, key: str, *, version_id: str | None = None, start: int = 0, block_bytes: int = 1 << 20
    ) -> Iterator[bytes]:
        data = self._find(key, version_id).data
        self.reads.append((key, start, None))
        for at in range(start, len(data), block_bytes):
            yield data[at : at + block_bytes]

    def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        only_if_absent: bool = False,
        only_if_etag: str | None = None,
    ) -> str:
        if self.failures:
            raise self.failures.pop(0)
        there = self._versions.get(key)
        if (only_if_absent and there) or (
            only_if_etag is not None and (not there or there[-1].etag != only_if_etag)
        ):
            raise Conflict("Somebody else wrote it first", code="conflict", where=f"s3://{self.bucket}/{key}")
        self.add(key, data)
        return self._versions[key][-1].etag

    def put_stream(
        self, key: str, pieces: Iterable[bytes | tuple[ObjectStore, str]], *, only_if_absent: bool = False
    ) -> int:
        data = b"".join(piece if isinstance(piece, bytes) else piece[0].get(piece[1]) for piece in pieces)
        self.put(key, data, only_if_absent=only_if_absent)
        return len(data)

    def head(self, key: str, *, version_id: str | None = None) -> ObjectInfo:
        version = self._find(key, version_id)
        return ObjectInfo(key, len(version.data), version.etag, version.version_id, version.metadata)

    def list(self, prefix: str) -> Iterator[str]:
        yield from sorted(key for key in self._versions if key.startswith(prefix))

    def list_folders(self, prefix: str) -> Iterator[str]:
        rest = (key[len(prefix) :] for key in self._versions if key.startswith(prefix))
        yield from sorted({name.split("/", 1)[0] for name in rest if "/" in name})

    def delete(self, key: str) -> None:
        self._versions.pop(key, None)

    def _find(self, key: str, version_id: str | None) -> _Version:
        versions = self._versions.get(key, [])
        for version in reversed(versions):
            if version_id is None or version.version_id == version_id:
                return version
        raise NotFound("It is not there", code="not-found", where=f"s3://{self.bucket}/{key}")


@dataclass
class _Group:
    """Parts that are claimed and counted together."""

    parts: list[int]
    token: str
    open: list[int]
    done: set[int] = field(default_factory=set)
    claimed: dict[int, int] = field(default_factory=dict)

    def read(self) -> Parts:
        done = frozenset(self.done).intersection(self.parts)
        return Parts(len(self.parts), token_digest(self.token), done, dict(self.claimed), len(self.open))


@dataclass
class _Pass(_Group):
    """All parts of a pass; those of a large one are claimed in its groups."""

    groups: int = 0

    def read(self) -> Parts:
        return replace(super().read(), groups=self.groups)

    @property
    def progress(self) -> PassProgress:
        return PassProgress(len(self.done), len(self.parts), self.token)


class MemoryRunStore:
    """Run records in memory; ``clock`` counts milliseconds so that times differ and sort."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.failures: list[MillraceError] = []
        """Raised, first to last, by the next calls of ``complete_part``."""
        self.between_writes: Callable[[], object] = lambda: None
        """Called between two writes of one call: a worker may die there, too."""
        self._passes: dict[tuple[str, str], _Pass] = {}
        self._groups: dict[tuple[str, str, int], _Group] = {}
        self._usage: dict[tuple[str, str], Usage] = {}
        self._successes: dict[tuple[str, str], str] = {}
        self._clock = 0

    def open(self, run: Run) -> bool:
        if run.run_id in self.runs:
            return False
        self.runs[run.run_id] = replace(run, progress={}, usage=())
        return True

    def get(self, run_id: str, *, full: bool = False) -> Run:
        if run_id not in self.runs:
            raise NotFound(f"There is no run {run_id!r}", code="run-not-found")
        progress = {name: self._passes[run, name].progress for run, name in self._passes if run == run_id}
        if not full:
            return replace(self.runs[run_id], progress=progress)
        for name, known in progress.items():
            progress[name] = replace(known, done=len(self.parts_done(run_id, name)))
        usage = tuple(used for (run, _), used in sorted(self._usage.items()) if run == run_id)
        return replace(self.runs[run_id], progress=progress, usage=usage)

    def list(self, *, limit: int = 50, cursor: str | None = None) -> tuple[tuple[Run, ...], str | None]:
        runs = sorted(self.runs.values(), key=lambda run: (run.created_at, run.run_id), reverse=True)
        if cursor is not None and not cursor.isdigit():
            raise BadInput("The cursor is not one of ours", code="cursor-invalid")
        start = int(cursor or 0)
        more = start + limit < len(runs)
        return tuple(runs[start : start + limit]), str(start + limit) if more else None

    def update(self, run_id: str, **changes: Any) -> None:
        unknown = set(changes) - {item.name for item in fields(Run)} | set(changes) & {"progress", "usage"}
        if unknown:
            raise ValueError(f"a run has no field {unknown.pop()!r} that can be set")
        self._clock += 1
        stamp = f"2026-01-01T00:00:{self._clock // 1000:02d}.{self._clock % 1000:03d}Z"
        if run_id not in self.runs:
            raise NotFound(f"There is no run {run_id!r}", code="run-not-found")
        self.runs[run_id] = replace(self.runs[run_id], **({"updated_at": stamp} | changes))

    def start_pass(
        self,
        run_id: str,
        name: str,
        *,
        total: int,
        token: str = "",
        skip: Collection[int] = (),
        groups: int = 0,
    ) -> None:
        done = self._passes[run_id, name].done if (run_id, name) in self._passes else set()
        left = [part for part in range(total) if part not in skip]
        taken = [] if groups else left
        self._passes[run_id, name] = _Pass(list(range(total)), token, taken, done | set(skip), groups=groups)
        for group in range(groups):
            self.between_writes()
            dealt = left[group::groups]
            self._groups[run_id, name, group] = _Group(dealt, token, list(dealt))

    def claim_part(
        self, run_id: str, name: str, *, ticket: int, token: str, group: int | None = None
    ) -> int | None:
        known = self._find(run_id, name, group)
        if known is None or known.token != token or not known.open or ticket in known.claimed:
            return None
        return known.claimed.setdefault(ticket, known.open.pop(0))

    def complete_part(self, run_id: str, name: str, part: int, group: int | None = None) -> PassProgress:
        if self.failures:
            raise self.failures.pop(0)
        known = self._find(run_id, name, group)
        if known is None:
            raise NotFound(f"Run {run_id!r} has not begun its pass {name!r}", code="pass-not-found")
        known.done.add(part)
        if isinstance(known, _Pass):
            return known.progress
        parts = known.read()
        if not parts.complete:
            return PassProgress(len(parts.done), parts.total)
        whole = self._passes[run_id, name]
        self.between_writes()
        whole.done |= parts.done
        return whole.progress

    def parts(self, run_id: str, name: str, group: int | None = None) -> Parts | None:
        known = self._find(run_id, name, group)
        return known.read() if known is not None else None

    def parts_done(self, run_id: str, name: str) -> frozenset[int]:
        whole = self._passes.get((run_id, name))
        if whole is None:
            return frozenset()
        groups = (self.parts(run_id, name, group) for group in range(whole.groups))
        return frozenset(whole.done).union(*(group.done for group in groups if group is not None))

    def _find(self, run_id: str, name: str, group: int | None) -> _Group | None:
        if group is None:
            return self._passes.get((run_id, name))
        return self._groups.get((run_id, name, group))

    def add_usage(self, run_id: str, usage: Usage) -> None:
        before = vars(self._usage.get((run_id, usage.function), Usage(usage.function, 0, 0, 0)))
        kept = {"function": usage.function, "memory_mb": usage.memory_mb}
        added = {name: before[name] + value for name, value in vars(usage).items() if name not in kept}
        self._usage[run_id, usage.function] = Usage(**kept, **added)

    def last_success(self, dataset: str) -> Run | None:
        return self._last(dataset, "any")

    def last_upload(self, dataset: str) -> Run | None:
        return self._last(dataset, "upload")

    def record_success(self, run_id: str) -> None:
        run = self.get(run_id)
        for which in ("any", run.source):
            before = self._last(run.dataset, which)
            if before is None or before.created_at <= run.created_at:
                self._successes[run.dataset, which] = run_id

    def _last(self, dataset: str, which: str) -> Run | None:
        run_id = self._successes.get((dataset, which))
        return self.get(run_id) if run_id else None


@dataclass
class MemoryStream:
    """Keeps what is put; ``failures`` are raised by the next puts."""

    records: list[tuple[bytes, str, str]] = field(default_factory=list)
    failures: list[MillraceError] = field(default_factory=list)

    def put(self, records: Iterable[tuple[bytes, str, str]]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.records += records

    def take(self) -> list[bytes]:
        """Return the data put since the last take."""
        data = [record[0] for record in self.records]
        self.records = []
        return data


class MemoryTasks:
    """Task tokens: the first answer to a token counts, later ones find nobody waiting."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[str, ...]] = {}
        self.late: list[str] = []
        self.heartbeats: list[str] = []
        self.failures: list[TransientError] = []
        """Raised, first to last, by the next answers."""

    def succeed(self, token: str, output: Mapping[str, Any]) -> bool:
        return self._answer(token, ("success", json.dumps(output)))

    def fail(self, token: str, error: str, cause: str) -> bool:
        return self._answer(token, ("failure", error, cause))

    def heartbeat(self, token: str) -> bool:
        self.heartbeats.append(token)
        return token not in self.answers

    def _answer(self, token: str, answer: tuple[str, ...]) -> bool:
        if self.failures:
            raise self.failures.pop(0)
        if token in self.answers:
            self.late.append(token)
            return False
        self.answers[token] = answer
        return True


class MemoryExecutions:
    """Executions by name; a name is taken for good."""

    def __init__(self) -> None:
        self.started: dict[str, dict[str, Any]] = {}
        self.statuses: dict[str, str] = {}
        self.failures: list[MillraceError] = []

    def start(self, name: str, data: Mapping[str, Any]) -> bool:
        if self.failures:
            raise self.failures.pop(0)
        if name in self.started:
            return False
        self.started[name] = dict(data)
        self.statuses[name] = "RUNNING"
        return True

    def status(self, name: str) -> str | None:
        return self.statuses.get(name)


class MemoryLedger:
    """Which object holds the outcome of each identity."""

    def __init__(self) -> None:
        self.objects: dict[str, str] = {}
        self.on_stream: set[str] = set()
        self.batches: dict[str, Batch] = {}
        """Noted as pending, once; taken ones too."""
        self.taken: set[str] = set()
        self.leases: dict[str, tuple[str, float]] = {}
        self.now = 0.0

    def claim(self, identity: str, object_key: str) -> str:
        return self.objects.setdefault(identity, object_key)

    def move(self, identity: str, source: str, target: str) -> bool:
        if self.objects.get(identity) not in (source, target):
            return False
        self.objects[identity] = target
        return True

    def published(self, object_key: str) -> bool:
        return object_key in self.on_stream or object_key in self.batches

    def mark_published(self, object_key: str) -> None:
        self.on_stream.add(object_key)

    def mark_pending(self, batch: Batch) -> None:
        self.batches.setdefault(batch.key, batch)

    def pending(self, dataset: str) -> list[Batch]:
        waiting = (batch for key, batch in self.batches.items() if key not in self.taken)
        return sorted((b for b in waiting if b.dataset == dataset), key=lambda batch: batch.since)

    def take(self, object_key: str) -> None:
        self.taken.add(object_key)

    def lease(self, name: str, holder: str, seconds: float) -> bool:
        by, until = self.leases.get(name, (holder, 0.0))
        if by != holder and until > self.now:
            return False
        self.leases[name] = holder, self.now + seconds
        return True

    def release(self, name: str, holder: str) -> None:
        if self.leases.get(name, ("", 0.0))[0] == holder:
            self.leases[name] = holder, self.now


@dataclass
class Context:
    """What a handler uses of Lambda's context."""

    memory_limit_in_mb: int = 512
    aws_request_id: str = "00000000-0000-4000-8000-000000000000"
    function_name: str = "function"
    function_version: str = "$LATEST"
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:function"
    remaining_ms: int = 60_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms
