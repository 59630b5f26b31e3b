"""How the platform starts, what it leaves open, what it leaves behind, and what it remembers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import Misconfigured
from millrace.local import platform as control
from millrace.local import settings
from millrace.local.platform import Platform
from millrace.local.runtime import Packages, Pool
from millrace.local.sandbox import Call
from tests.contract.local.conftest import Workshop, archive, eventually

pytestmark = pytest.mark.platform

needs_proc = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc")

WAITS = "def handler(event, context):\n    note(os.getpid())\n    time.sleep(event)"


def family(pid: int) -> set[int]:
    """The process and all that it started, however far."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found, todo = set(), [pid]
    while todo:
        one = todo.pop()
        found.add(one)
        todo += children.get(one, [])
    return found


def listening(pids: set[int]) -> set[str]:
    """The addresses on which these processes listen, as hexadecimal host and port."""
    sockets = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                sockets.add(target[8:-1])
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                found.add(fields[1])
    return found


def running(pids: set[int]) -> set[int]:
    """Those of the processes that have not ended."""
    left = set()
    for pid in pids:
        try:
            os.kill(pid, 0)
            # One that has ended, but has not been asked for yet by its parent, is not running.
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            continue
        if state != "Z":
            left.add(pid)
    return left


def test_another_version_of_ministack_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "other" / "ministack-9.9.9.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: ministack\nVersion: 9.9.9\n")
    monkeypatch.setenv("MILLRACE_MINISTACK_PYTHONPATH", str(fake.parent))
    with pytest.raises(
        Misconfigured, match=r"built on MiniStack 1\.5\.33, but 9\.9\.9 is installed.*make setup"
    ):
        Platform(tmp_path / "state").start(lifeline=True)


def test_a_ministack_without_what_we_replace_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "usercustomize.py").write_text(
        "import importlib.util, sys\n"
        "class Without:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name != 'ministack.services.stepfunctions':\n"
        "            return None\n"
        "        return importlib.util.spec_from_loader(name, self)\n"
        "    def create_module(self, spec): return None\n"
        "    def exec_module(self, module): pass\n"
        "sys.meta_path.insert(0, Without())\n"
    )
    (tmp_path / "sitecustomize.py").write_text("import usercustomize\n")
    monkeypatch.setenv("MILLRACE_MINISTACK_PYTHONPATH", str(tmp_path))
    with pytest.raises(Misconfigured, match="stepfunctions has no function _call_lambda"):
        Platform(tmp_path / "state").start(lifeline=True)


def test_a_missing_tool_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_MINISTACK_PYTHON", str(tmp_path / "nowhere"))
    with pytest.raises(Misconfigured, match=r"not installed.*nowhere.*make setup"):
        Platform(tmp_path / "state").start(lifeline=True)


def test_two_platforms_do_not_share_a_state(platform: Platform) -> None:
    with pytest.raises(Misconfigured, match=r"Another platform runs on .*make down"):
        Platform(platform.state).start(lifeline=True)
    assert platform.client("s3").list_buckets()["ResponseMetadata"]["HTTPStatusCode"] == 200


@needs_proc
def test_it_listens_on_the_loopback_only(workshop: Workshop) -> None:
    function = workshop.function("def handler(event, context): return os.getpid()")
    sandbox = function.invoke({})
    pids = family(int(workshop.platform.about["pid"]))
    assert {workshop.platform.about["emulator_pid"], sandbox} <= pids
    addresses = listening(pids)
    assert len(addresses) >= 3, "the endpoint, the runtime server, a sandbox's Runtime API"
    assert {address.partition(":")[0] for address in addresses} == {"0100007F"}


@needs_proc
@pytest.mark.parametrize("kind", ["Event", "RequestResponse"])
def test_stopping_leaves_no_process_even_when_functions_run(tmp_path: Path, kind: str) -> None:
    with ThreadPoolExecutor() as callers:
        with Platform(tmp_path / "state") as platform:
            workshop = Workshop(platform, tmp_path)
            function = workshop.function(WAITS, timeout_s=60)
            client = platform.client("lambda")
            for _ in range(2):
                arguments = {"FunctionName": function.name, "InvocationType": kind, "Payload": b"60"}
                callers.submit(client.invoke, **arguments)
            eventually(lambda: len(function.events()) == 2)
            pids = family(int(platform.about["pid"]))
            assert set(function.events()) <= pids
        assert running(pids) == set()
    with Platform(tmp_path / "state") as platform:
        assert platform.client("lambda").get_function(FunctionName=function.name)["Configuration"]


@needs_proc
def test_killing_the_supervisor_leaves_no_process(tmp_path: Path) -> None:
    platform = Platform(tmp_path / "state")
    platform.start(lifeline=True)
    workshop = Workshop(platform, tmp_path)
    function = workshop.function(WAITS, timeout_s=60)
    platform.client("lambda").invoke(FunctionName=function.name, InvocationType="Event", Payload=b"60")
    eventually(function.events)
    pids = family(int(platform.about["pid"]))
    os.kill(int(platform.about["pid"]), signal.SIGKILL)
    assert eventually(lambda: not running(pids))
    platform.stop()


@needs_proc
def test_a_platform_ends_with_the_process_that_holds_it(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom millrace.local.platform import Platform\n"
        "platform = Platform(Path(sys.argv[1]))\nplatform.start(lifeline=True)\n"
        "print(platform.about['pid'], flush=True)\nsys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "state")],
        env={**os.environ, "PYTHONPATH": str(Path(control.__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    pids = family(int(holder.stdout.readline()))
    holder.kill()
    holder.communicate()
    assert eventually(lambda: not running(pids))


def test_state_lasts(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Platform(state) as platform:
        workshop = Workshop(platform, tmp_path)
        layer = workshop.layer(below="answer = 42")
        function = workshop.function(
            "import below\n\ndef handler(event, context): return below.answer", layers=(layer,)
        )
        consumer = workshop.function("def handler(event, context): note(data(event))")
        stream = workshop.stream()
        workshop.mapping(consumer, stream, BatchSize=1, StartingPosition="LATEST")
        workshop.put(stream, "a")
        eventually(lambda: consumer.batches() == [["a"]])
        s3 = platform.client("s3")
        s3.create_bucket(Bucket="lasting")
        s3.put_bucket_versioning(Bucket="lasting", VersioningConfiguration={"Status": "Enabled"})
        first = s3.put_object(Bucket="lasting", Key="a key/ü", Body=b"first")["VersionId"]
        s3.put_object(Bucket="lasting", Key="a key/ü", Body=b"second", Metadata={"force": "true"})
        table = platform.client("dynamodb")
        table.create_table(
            TableName="lasting",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        )
        table.put_item(TableName="lasting", Item={"k": {"S": "x"}, "parts": {"NS": ["1", "2"]}})
    with Platform(state) as platform:
        workshop.platform = function.platform = consumer.platform = platform
        assert function.invoke({}) == 42
        s3 = platform.client("s3")
        now = s3.get_object(Bucket="lasting", Key="a key/ü")
        assert (now["Body"].read(), now["Metadata"]) == (b"second", {"force": "true"})
        old = s3.get_object(Bucket="lasting", Key="a key/ü", VersionId=first)
        assert old["Body"].read() == b"first"
        item = platform.client("dynamodb").get_item(TableName="lasting", Key={"k": {"S": "x"}})["Item"]
        assert sorted(item["parts"]["NS"]) == ["1", "2"]
        workshop.put(stream, "b")
        assert eventually(lambda: len(consumer.batches()) == 2 and consumer.batches()) == [["a"], ["b"]]


def test_up_and_down_keep_the_endpoint_and_the_state(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert control.current(state) is None
    assert control.down(state) is False
    first = control.up(state, port=0)
    try:
        assert control.up(state).about == first.about, "it runs already"
        first.client("s3").create_bucket(Bucket="lasting")
        assert control.down(state) is True
        assert control.current(state) is None
        again = control.up(state)
        assert again.endpoint == first.endpoint
        names = [bucket["Name"] for bucket in again.client("s3").list_buckets()["Buckets"]]
        assert names == ["lasting"]
    finally:
        control.down(state)
    assert control.current(state) is None


def pool_of(tmp_path: Path, source: str, **settings_of_pool: Any) -> tuple[Pool, Call]:
    """Return a pool, and a call of the only function that it knows."""
    packages = Packages(tmp_path / "packages")
    name = uuid.uuid4().hex
    (packages.folder / f"{name}.zip").write_bytes(archive({"app.py": source}))
    call = Call(
        request_id="r",
        trace_id="t",
        name="f",
        arn="arn:aws:lambda:us-east-1:000000000000:function:f",
        version="$LATEST",
        runtime="python3.12",
        handler="app.handler",
        timeout_s=10,
        memory_mb=128,
        environment={},
        credentials={},
        code=name,
        layers=(),
    )
    folder = tmp_path / "sandboxes"
    python = settings.runtime_python()
    return Pool(packages, python=python, folder=folder, environment={}, **settings_of_pool), call


def test_of_one_function_so_many_sandboxes_work_at_once_and_others_do_not_wait(tmp_path: Path) -> None:
    source = """
import pathlib, time
def handler(event, context):
    mark = pathlib.Path(event["folder"], context.aws_request_id)
    mark.touch()
    found = len(list(mark.parent.iterdir()))
    while event.get("until") and not pathlib.Path(event["until"]).exists():
        time.sleep(0.01)
    mark.unlink()
    return found
"""
    marks, until = tmp_path / "marks", tmp_path / "until"
    marks.mkdir()
    pool, call = pool_of(tmp_path, source, at_once=2)
    event = json.dumps({"folder": str(marks), "until": str(until)}).encode()
    calls = [replace(call, request_id=str(number)) for number in range(5)]
    try:
        with ThreadPoolExecutor(len(calls)) as threads:
            answers = [threads.submit(pool.invoke, one, event) for one in calls]
            eventually(lambda: len(list(marks.iterdir())) == 2)
            other = json.dumps({"folder": str(tmp_path / "packages")}).encode()
            assert not pool.invoke(replace(call, memory_mb=129), other).error, "another one has its own turns"
            until.touch()
            found = [int(answer.result().payload) for answer in answers]
    finally:
        pool.close()
    assert max(found) == 2
    assert not list(marks.iterdir())


def test_idle_sandboxes_are_ended(tmp_path: Path) -> None:
    pool, call = pool_of(tmp_path, "import os\n\ndef handler(event, context): return os.getpid()", idle_s=0.2)
    try:
        pid = int(pool.invoke(call, b"{}").payload)
        eventually(lambda: not running({pid}))
        eventually(lambda: not any((tmp_path / "sandboxes").iterdir()))
        assert int(pool.invoke(call, b"{}").payload) != pid
    finally:
        pool.close()
