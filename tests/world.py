"""One run's surroundings in memory, and the way through them as the state machine and the stream go."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field

from millrace import keys
from millrace.contracts import ChunkOutcome, Layout, ObjectStore, PassName, Run, RunStore, Schema, decode
from millrace.fanout import decode_descriptor
from millrace.fanout.ports import DescriptorStream
from millrace.features.search import Unit, Work
from millrace.plan import read as read_plan
from millrace.registry.registry import Registry
from millrace.registry.versions import Version
from millrace.runs.assemble import assemble
from millrace.runs.collect import collect, narrow
from millrace.runs.decide import decide
from millrace.runs.fan_out import fan_out
from millrace.runs.finish import finish
from millrace.runs.ingest import Upload, ingest
from millrace.runs.preprocess import Outcome, preprocess
from tests.fakes import MemoryExecutions, MemoryObjectStore, MemoryRunStore, MemoryStream, MemoryTasks

CARS = b"colour,doors,price\n" + b"".join(
    b"%s,%d,%d\n" % (colour, 2 + number % 4, 1000 + 37 * number)
    for number, colour in zip(range(120), itertools.cycle([b"red", b"green", b"blue"]), strict=False)
)
"""A regression table of 120 rows."""


@dataclass
class World:
    """The ports, and steps of a run over them; the defaults are fakes."""

    data: ObjectStore = field(default_factory=lambda: MemoryObjectStore("data"))
    artifacts: ObjectStore = field(default_factory=lambda: MemoryObjectStore("artifacts"))
    runs: RunStore = field(default_factory=MemoryRunStore)
    stream: DescriptorStream = field(default_factory=MemoryStream)
    tasks: MemoryTasks = field(default_factory=MemoryTasks)
    executions: MemoryExecutions = field(default_factory=MemoryExecutions)
    max_file_bytes: int = 1 << 20
    width: int = 1
    tickets: int = 0
    group_tickets: int = 0
    min_chunk_bytes: int = 1
    max_chunk_bytes: int = 1 << 20
    max_file_bytes: int = 1 << 30
    max_reject_share: float = 0.05

    def upload(self, data: bytes, key: str = "datasets/cars/cars.csv") -> Run:
        """Upload a file and ingest it."""
        self.data.put(key, data)
        run = self.ingest(key)
        assert run is not None
        return run

    def ingest(self, key: str = "datasets/cars/cars.csv", version_id: str | None = None) -> Run | None:
        return ingest(
            Upload(self.data.bucket, key, version_id or self.data.head(key).version_id),
            data=self.data,
            artifacts=self.artifacts,
            runs=self.runs,
            executions=self.executions,
            max_file_bytes=self.max_file_bytes,
        )

    def fan_out(self, run_id: str, pass_name: PassName, token: str) -> Layout:
        return fan_out(
            run_id,
            pass_name,
            token,
            data=self.data,
            artifacts=self.artifacts,
            runs=self.runs,
            stream=self.stream,
            tasks=self.tasks,
            shards=1,
            width=self.width,
            tickets=self.tickets,
            group_tickets=self.group_tickets,
            min_chunk_bytes=self.min_chunk_bytes,
            max_chunk_bytes=self.max_chunk_bytes,
            max_file_bytes=self.max_file_bytes,
        )

    def work(self, record: bytes) -> Outcome:
        """Give one stream record to a worker."""
        return preprocess(
            decode_descriptor(record),
            data=self.data,
            artifacts=self.artifacts,
            runs=self.runs,
            stream=self.stream,
            tasks=self.tasks,
            heartbeat_s=60,
        )

    def work_all(self) -> list[Outcome]:
        """Give every record on the stream to a worker, those that follow included."""
        assert isinstance(self.stream, MemoryStream)
        outcomes: list[Outcome] = []
        while records := self.stream.take():
            outcomes += [self.work(record) for record in records]
        return outcomes

    def decide(self, run_id: str) -> Schema:
        self.runs.update(run_id, state="DECIDING")
        return decide(run_id, artifacts=self.artifacts, runs=self.runs)

    def collect(self, run_id: str) -> Work:
        return collect(
            run_id, artifacts=self.artifacts, runs=self.runs, max_reject_share=self.max_reject_share
        )

    def narrow(self, run_id: str) -> tuple[Unit, ...]:
        return narrow(run_id, artifacts=self.artifacts, runs=self.runs).units

    def prepare(self, data: bytes, key: str = "datasets/cars/cars.csv") -> str:
        """Take a file from its upload to the candidates; return the run's id."""
        run_id = self.upload(data, key).run_id
        self.fan_out(run_id, "profile", "token-profile")
        self.work_all()
        self.decide(run_id)
        self.fan_out(run_id, "convert", "token-convert")
        self.work_all()
        self.collect(run_id)
        return run_id

    def register(self, plan: bytes, model: str = "demo", *, live: bool = True) -> int:
        """Add a version of a model, as ``register`` would; return its number."""
        read = read_plan(plan)
        registry = Registry(self.artifacts)
        draft = Version(
            model=model,
            version=0,
            run_id=f"{model}-{hashlib.sha256(plan).hexdigest()[:12]}",
            created_at="",
            task=read.header["task"],
            target="target",
            metric="",
            plan_sha256="",
            plan_bytes=0,
            classes=tuple(read.classes),
            signature=tuple(read.signature.fields),
        )
        number = registry.register(draft, plan).version
        if live:
            registry.promote(model, number, by="test", why="test")
        return number

    def score(self, run_id: str) -> str:
        """Take a run that scores from its fan-out to its result; return the result's URI."""
        self.fan_out(run_id, "score", f"token-{run_id}")
        self.work_all()
        self.runs.update(run_id, state="ASSEMBLING")
        result = assemble(run_id, data=self.data, artifacts=self.artifacts, runs=self.runs)
        self.succeed(run_id)
        return result

    def succeed(self, run_id: str) -> None:
        finish(run_id, None, runs=self.runs)

    def outcomes(self, run_id: str) -> list[ChunkOutcome]:
        import json

        return [
            decode(ChunkOutcome, json.loads(self.artifacts.get(key)))
            for key in self.artifacts.list(keys.parts(run_id, "convert"))
        ]
