"""One embedded AWS for all contract tests of this folder, and small things to put into it."""

from __future__ import annotations

import inspect
import io
import json
import textwrap
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from millrace.local.platform import Platform

ROLE = "arn:aws:iam::000000000000:role/test"
PATIENCE_S = 30.0


def archive(files: dict[str, str]) -> bytes:
    """A zip of text files."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
    return data.getvalue()


def eventually(find: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """What ``find`` returns once that is true in the sense of ``bool``; fails the test if it never is."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        found = find()
        if found:
            return found
        time.sleep(0.02)
    pytest.fail(f"not within {patience_s:g} s: {inspect.getsource(find).strip()}")


@dataclass
class Function:
    """A deployed function whose handler leaves a line for each event in a file."""

    platform: Platform
    name: str
    lines: Path

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:us-east-1:000000000000:function:{self.name}"

    def events(self) -> list[Any]:
        """What the handler has noted so far."""
        return (
            [json.loads(line) for line in self.lines.read_text().splitlines()] if self.lines.exists() else []
        )

    def batches(self) -> list[list[str]]:
        """The data of the records of each event from a stream, so far."""
        return [event for event in self.events() if isinstance(event, list)]

    def invoke(self, event: Any) -> Any:
        """The response; fails the test on an error."""
        got = self.platform.invoke(self.name, event)
        assert not got.error, got.payload
        return got.payload

    def failure(self, event: Any) -> Any:
        """The error object; fails the test on a response."""
        got = self.platform.invoke(self.name, event)
        assert got.error, got.payload
        return got.payload


PRELUDE = """
import base64, json, os, sys, time

def note(value):
    with open(os.environ["LINES"], "a") as file:
        file.write(json.dumps(value) + "\\n")

def data(event):
    return [base64.b64decode(record["kinesis"]["data"]).decode() for record in event["Records"]]

def meet(name, count):
    # Wait until `count` invocations stand here together.
    folder = os.environ["LINES"] + "-" + name
    os.makedirs(folder, exist_ok=True)
    open(os.path.join(folder, str(os.getpid())), "w").close()
    deadline = time.monotonic() + 20
    while len(os.listdir(folder)) < count:
        if time.monotonic() > deadline:
            raise TimeoutError("nobody else came")
        time.sleep(0.005)
"""


@dataclass
class Workshop:
    """Makes functions, streams and mappings, and clears them away."""

    platform: Platform
    folder: Path
    _undo: list[Callable[[], Any]] = field(default_factory=list)

    def function(
        self,
        body: str,
        *,
        timeout_s: int = 10,
        memory_mb: int = 512,
        layers: tuple[str, ...] = (),
        **files: str,
    ) -> Function:
        """A function whose module ``app`` is ``body`` after the prelude; ``files`` are modules beside it."""
        name = f"f-{uuid.uuid4().hex[:12]}"
        lines = self.folder / name
        client = self.platform.client("lambda")
        source = {"app.py": PRELUDE + textwrap.dedent(body)} | {
            f"{key}.py": text for key, text in files.items()
        }
        client.create_function(
            FunctionName=name,
            Runtime="python3.12",
            Handler="app.handler",
            Role=ROLE,
            Timeout=timeout_s,
            MemorySize=memory_mb,
            Layers=list(layers),
            Environment={"Variables": {"LINES": str(lines)}},
            Code={"ZipFile": archive(source)},
        )
        self._undo.append(lambda: client.delete_function(FunctionName=name))
        return Function(self.platform, name, lines)

    def layer(self, **files: str) -> str:
        """A layer with these modules; its ARN."""
        content = archive({f"python/{name}.py": text for name, text in files.items()})
        made = self.platform.client("lambda").publish_layer_version(
            LayerName=f"l-{uuid.uuid4().hex[:12]}", Content={"ZipFile": content}
        )
        return str(made["LayerVersionArn"])

    def stream(self, shards: int = 1) -> str:
        """A stream; its name."""
        name = f"s-{uuid.uuid4().hex[:12]}"
        client = self.platform.client("kinesis")
        client.create_stream(StreamName=name, ShardCount=shards)
        client.describe_stream(StreamName=name)
        self._undo.append(lambda: client.delete_stream(StreamName=name))
        return name

    def mapping(self, function: Function, stream: str, **options: Any) -> str:
        """A mapping from the stream to the function, from its beginning; its id."""
        client = self.platform.client("lambda")
        made = client.create_event_source_mapping(
            FunctionName=function.name,
            EventSourceArn=f"arn:aws:kinesis:us-east-1:000000000000:stream/{stream}",
            **{"StartingPosition": "TRIM_HORIZON", **options},
        )
        mapping = str(made["UUID"])
        self._undo.append(lambda: client.delete_event_source_mapping(UUID=mapping))
        return mapping

    def put(self, stream: str, *data: str, key: str = "k") -> None:
        """Put records with these data in one request."""
        self.platform.client("kinesis").put_records(
            StreamName=stream, Records=[{"Data": one.encode(), "PartitionKey": key} for one in data]
        )

    def clear(self) -> None:
        while self._undo:
            self._undo.pop()()


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with Platform(tmp_path_factory.mktemp("platform")) as running:
        yield running


@pytest.fixture
def workshop(platform: Platform, tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(platform, tmp_path)
    yield made
    made.clear()
