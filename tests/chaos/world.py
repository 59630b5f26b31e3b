"""The embedded platform of the fault suite: the real stack, with a proxy before each of its functions.

Only limits of time are other than in the template: functions end after 20 s (90 s where something is trained)
instead of minutes, a pass without a heartbeat after 60 s instead of half an hour, and the state machine waits
a fifth of the time before it tries again. And of size: chunks are 1 KB, so that a table of 4 KB has several,
and already such a table is large enough to be scanned in parallel.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from millrace.aws.states import StepFunctionsExecutions, StepFunctionsMap
from millrace.contracts import TERMINAL_STATES, Descriptor, Run
from millrace.errors import NotFound
from millrace.fanout import spread
from millrace.local.platform import Platform
from millrace.runs.progress import execution_name
from tests.chaos.faults import Faults
from tests.chaos.proxy import Proxy
from tests.chaos.scenarios import FanOut
from tests.platform.stack import Stack

PARAMETERS = {
    "ShardCount": "2",
    "ParallelizationFactor": "2",
    "MinChunkBytes": "1024",
    "PredictFreshnessSeconds": "1",
    "RowsShardCount": "1",
}
FUNCTIONS = (
    "ingest",
    "fan_out",
    "preprocess",
    "decide",
    "collect",
    "train",
    "select",
    "report",
    "register",
    "assemble",
    "finish",
    "chunk_failed",
    "reconcile",
    "score",
    "retrain",
)
TIMEOUT_S = {"train": 90, "select": 90, "report": 90}
RUN_S = 240
"""What has not ended by then is stuck."""


class World:
    """The platform, with or without a stream of chunks; restarts keep its address."""

    def __init__(self, state: Path, fan_out: FanOut = "stream") -> None:
        self.state = state
        self.fan_out = fan_out
        self._platform = Platform(state)
        self._open = ExitStack()
        self._reconciled = 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> World:
        self._platform.start(lifeline=True)
        self._open.callback(lambda: self._platform.stop())
        outputs = self._platform.deploy(parameters={**PARAMETERS, "FanOut": self.fan_out})
        self.proxy = Proxy(
            FUNCTIONS, lambda: self._platform.endpoint, lambda: int(self._platform.about["pid"])
        )
        self._open.callback(self.proxy.close)
        self.stack = Stack(self._platform, outputs)
        self.s3 = self.stack.s3
        self.kinesis = self._platform.client("kinesis")
        self.states = self._platform.client("stepfunctions")
        self.functions = self._platform.client("lambda")
        self.names = self._limit()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def deal(self, *, grouped: bool) -> None:
        """Have the chunks of a pass, of which there are few, dealt to two groups or to none."""
        name = self.names["fan_out"]
        variables = self.functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        variables["MILLRACE_GROUP_TICKETS"] = "4" if grouped else "90"
        self.functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})

    def _limit(self) -> dict[str, str]:
        resources = self._platform.resources()
        names = {}
        for name in FUNCTIONS:
            logical = "".join(part.capitalize() for part in name.split("_")) + "Function"
            names[name] = resources[logical]
            variables = self.functions.get_function_configuration(FunctionName=names[name])["Environment"]
            self.functions.update_function_configuration(
                FunctionName=names[name],
                Timeout=TIMEOUT_S.get(name, 20),
                Environment={
                    "Variables": {
                        **variables["Variables"],
                        "AWS_ENDPOINT_URL": self.proxy.urls[name],
                        "MILLRACE_HEARTBEAT_S": "5",
                    }
                },
            )
        machine = self.stack.outputs["StateMachineArn"]
        text = self.states.describe_state_machine(stateMachineArn=machine)["definition"]
        definition = json.loads(text)
        for state in definition["States"].values():
            if "HeartbeatSeconds" in state:
                state["HeartbeatSeconds"] = 60
        for choice in definition["States"]["Size"]["Choices"]:
            for condition in choice["And"]:
                if "NumericGreaterThan" in condition:
                    condition["NumericGreaterThan"] = 1024
        self.states.update_state_machine(stateMachineArn=machine, definition=json.dumps(definition))
        self._wait_less()
        return names

    def _wait_less(self) -> None:
        """Shorten the state machine's pauses; the emulator forgets this at a restart."""
        request = urllib.request.Request(
            f"{self._platform.endpoint}/_ministack/config",
            data=json.dumps({"stepfunctions._SFN_WAIT_SCALE": 0.2}).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def restart(self) -> None:
        """Stop the platform in an orderly way and start it again on its state, at the same address."""
        port = int(self._platform.endpoint.rpartition(":")[2])
        self._platform.stop()
        self._platform = Platform(self.state, port=port)
        self._platform.start(lifeline=True)
        assert self._platform.endpoint.endswith(f":{port}"), "the address has changed"
        self._wait_less()

    # --- what a user does ----------------------------------------------------------------------

    def event(self, key: str, version_id: str) -> dict[str, Any]:
        """Return the notification of S3 about an object."""
        return {
            "Records": [
                {
                    "eventVersion": "2.1",
                    "eventSource": "aws:s3",
                    "awsRegion": "us-east-1",
                    "eventName": "ObjectCreated:Put",
                    "s3": {
                        "s3SchemaVersion": "1.0",
                        "bucket": {"name": self.stack.data_bucket},
                        "object": {"key": quote_plus(key, safe="/"), "versionId": version_id},
                    },
                }
            ]
        }

    def deliver(self, event: dict[str, Any]) -> None:
        """Hand an event to ``ingest`` as S3 does."""
        self.functions.invoke(
            FunctionName=self.names["ingest"], InvocationType="Event", Payload=json.dumps(event).encode()
        )

    def run(self, run_id: str) -> Run | None:
        """Return the run, if it was opened."""
        try:
            return self.stack.runs.get(run_id)
        except NotFound:
            return None

    def ended(self, run: Run) -> str | None:
        """Return how the run's present execution ended: ``None`` while it runs, ``GONE`` if there is none."""
        arn = self.stack.outputs["StateMachineArn"].replace(":stateMachine:", ":execution:")
        try:
            found = self.states.describe_execution(executionArn=f"{arn}:{execution_name(run)}")
        except self.states.exceptions.ExecutionDoesNotExist:
            return "GONE"
        return None if found["status"] == "RUNNING" else str(found["status"])

    def wait(self, run_id: str, event: dict[str, Any], notes: list[str]) -> Run | None:
        """Return the run when it has ended and its execution, too; ``None`` if it does not end.

        Meanwhile this does what the stack's schedule and its operator do: it calls ``reconcile`` when the
        execution is gone, and hands an event to ``ingest`` again that Lambda has put on the queue of lost
        events.
        """
        deadline = time.monotonic() + RUN_S
        seen = time.monotonic()
        while time.monotonic() < deadline:
            run = self.run(run_id)
            if run is None:
                if time.monotonic() > seen + 15 and self._is_lost(event):
                    notes.append("event taken from the queue of lost events")
                    self.deliver(event)
                    seen = time.monotonic()
            elif run.state == "UNCHANGED" or (
                run.state == "FAILED" and run.error and run.error.stage == "ingest"
            ):
                return run
            else:
                ended = self.ended(run)
                if run.state in TERMINAL_STATES and ended is not None:
                    return run
                if ended is not None and time.monotonic() > seen + 5:
                    notes.append(f"reconciled: {run.state}, execution {ended}")
                    self.reconcile()
                    seen = time.monotonic()
            time.sleep(0.3)
        return None

    def put(self, descriptors: list[Descriptor]) -> None:
        """Send descriptors to workers once more."""
        if self.fan_out == "map":
            chunks = StepFunctionsMap(StepFunctionsExecutions(self._chunk_machine(), self.states))
            for descriptor in descriptors:  # one by one: an execution is named by what it is about
                chunks.put(spread([descriptor]))
            return
        self.kinesis.put_records(
            StreamName=self.stack.outputs["StreamName"],
            Records=[
                {"Data": data, "PartitionKey": key, "ExplicitHashKey": place}
                for data, key, place in spread(descriptors)
            ],
        )

    def handing_out(self) -> int:
        """Return how many executions of the Map have not ended."""
        if self.fan_out == "stream":
            return 0
        found = self.states.list_executions(stateMachineArn=self._chunk_machine(), statusFilter="RUNNING")
        return len(found["executions"])

    def _chunk_machine(self) -> str:
        return self._platform.resources()["ChunkStateMachine"]

    def retrain(self) -> None:
        """Call what another schedule calls."""
        self.functions.invoke(FunctionName=self.names["retrain"], Payload=b"{}")

    def reconcile(self) -> None:
        """Call what the schedule calls."""
        self.functions.invoke(
            FunctionName=self.names["reconcile"], Payload=json.dumps({"quiet_s": 3}).encode()
        )

    def _is_lost(self, event: dict[str, Any]) -> bool:
        key = event["Records"][0]["s3"]["object"]["key"]
        return any(key in message for message in self.lost())

    def lost(self) -> list[str]:
        """Return what is on the queue of lost events; it stays there."""
        sqs = self._platform.client("sqs")
        url = self._platform.resources()["LostEventsQueue"]
        found: dict[str, str] = {}
        while True:
            got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=1)
            new = {one["MessageId"]: one["Body"] for one in got.get("Messages", [])}
            if not set(new) - set(found):
                return list(found.values())
            found |= new

    def undelivered(self) -> int:
        """Return how many records of the streams their mappings have not come to yet."""
        positions = json.loads((self.state / "positions.json").read_text())
        behind = 0
        for mapping in self.functions.list_event_source_mappings()["EventSourceMappings"]:
            known = positions.get(mapping["UUID"], {})
            for shard in self.kinesis.list_shards(StreamARN=mapping["EventSourceArn"])["Shards"]:
                after = known.get(shard["ShardId"], "")
                where = {"ShardIteratorType": "TRIM_HORIZON"}
                if after:
                    where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": after}
                iterator = self.kinesis.get_shard_iterator(
                    StreamARN=mapping["EventSourceArn"], ShardId=shard["ShardId"], **where
                )["ShardIterator"]
                behind += len(self.kinesis.get_records(ShardIterator=iterator)["Records"])
        return behind

    def waits(self, token: str) -> bool:
        """Whether somebody still waits for a task token."""
        gone = (self.states.exceptions.TaskTimedOut, self.states.exceptions.TaskDoesNotExist)
        try:
            self.states.send_task_heartbeat(taskToken=token)
        except (*gone, self.states.exceptions.InvalidToken):
            return False
        return True

    def watch(self, faults: Faults, *needles: str) -> None:
        """Let calls that mention one of ``needles`` meet ``faults``."""
        for needle in needles:
            self.proxy.watch(needle, faults)
