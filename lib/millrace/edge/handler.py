"""What every function of a run does around its use case, as one decorator.

A function's ``app.py`` is then a sentence::

    @stage("train", TrainSettings, state="TRAINING", sinks_run=False)
    def handler(event: dict[str, Any], job: Job[TrainSettings]) -> dict[str, Any]:
        return train(job.run_id, unit_of(event), job.ports.artifacts, job.ports.runs)

The decorated function keeps Lambda's signature, ``handler(event, context)``. Around the use case it

- loads the settings and builds the ports, once for each process and not before the first event;
- takes ``run_id`` from the event into the log, and sets the run's state when ``state`` is given;
- raises what the use case raises as it is, because the state machine retries and catches by class name,
  and before that notes a final error with its code on the run (Lambda passes on only the name and the
  message), unless the function's failure does not sink the run;
- adds what the invocation used to the run, and writes what it counted (:meth:`Job.count`) as metrics.

A function whose event names no run (``ingest``, the stream's workers) calls :meth:`Job.concerns`.
"""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from millrace.aws.clients import requests_sent
from millrace.contracts import RunState, Usage
from millrace.edge.record import NAMESPACE
from millrace.edge.settings import Settings
from millrace.errors import BadInput, MillraceError, Misconfigured
from millrace.runs.failure import run_error

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

    from millrace.aws.ledger import DynamoLedger
    from millrace.contracts import ObjectStore, RunStore
    from millrace.fanout.ports import DescriptorStream, TaskTokens
    from millrace.runs.ports import Executions

__all__ = ["Job", "LambdaContext", "Ports", "stage"]

S = TypeVar("S", bound=Settings)
R = TypeVar("R")


class LambdaContext(Protocol):
    """What we use of the context that Lambda passes."""

    @property
    def function_name(self) -> str:
        """The function's deployed name."""
        ...

    @property
    def invoked_function_arn(self) -> str:
        """The function's ARN."""
        ...

    @property
    def memory_limit_in_mb(self) -> int | str:
        """The function's memory."""
        ...

    @property
    def aws_request_id(self) -> str:
        """The invocation's identifier."""
        ...

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the invocation may still run."""
        ...


class _NoStream:
    """What a worker has in a stack without a stream: its Map knows every chunk, so none follows another."""

    def put(self, records: Iterable[tuple[bytes, str, str]]) -> None:
        raise Misconfigured(
            "The stack has no stream to put chunks on",
            code="port-not-configured",
            remedy="Deploy fan_out and its workers with the same parameter FanOut.",
        )


class Ports(Generic[S]):
    """The adapters that a function's settings ask for; each is built when first used, once.

    Parameters
    ----------
    settings : Settings
        The function's settings.

    Raises
    ------
    Misconfigured
        On use of a port for which the function has no setting.
    """

    def __init__(self, settings: S) -> None:
        self.settings = settings

    @functools.cached_property
    def artifacts(self) -> ObjectStore:
        """The artifact bucket: ``runs/``, ``models/``, ``failures/``."""
        from millrace.aws.objects import S3Store

        return S3Store(self.settings.artifact_bucket)

    @functools.cached_property
    def data(self) -> ObjectStore:
        """The data bucket: ``datasets/``."""
        from millrace.aws.objects import S3Store

        return S3Store(self._setting("data_bucket"))

    @functools.cached_property
    def runs(self) -> RunStore:
        """Run records and progress."""
        from millrace.aws.runs import DynamoRunStore

        return DynamoRunStore(self.settings.table)

    @functools.cached_property
    def stream(self) -> DescriptorStream:
        """The stream of chunk descriptors, or the Map that takes its place in a stack without one."""
        machine = getattr(self.settings, "chunk_machine_arn", "")
        if machine:
            from millrace.aws.states import StepFunctionsExecutions, StepFunctionsMap

            return StepFunctionsMap(StepFunctionsExecutions(machine))
        if getattr(self.settings, "stream", None) == "":
            return _NoStream()
        from millrace.aws.stream import KinesisStream

        return KinesisStream(self._setting("stream"))

    @functools.cached_property
    def tasks(self) -> TaskTokens:
        """Answers to task tokens."""
        from millrace.aws.states import StepFunctionsTasks

        return StepFunctionsTasks()

    @functools.cached_property
    def executions(self) -> Executions:
        """Executions of the state machine."""
        from millrace.aws.states import StepFunctionsExecutions

        return StepFunctionsExecutions(self._setting("state_machine_arn"))

    @functools.cached_property
    def ledger(self) -> DynamoLedger:
        """Which object holds the outcome of each record of the stream ``rows``, and which rows wait."""
        from millrace.aws.ledger import DynamoLedger

        return DynamoLedger(self._setting("ledger"), float(self._setting("ledger_days")) * 86400)

    @functools.cached_property
    def results(self) -> DescriptorStream:
        """The stream of scored rows."""
        from millrace.aws.stream import KinesisStream

        return KinesisStream(self._setting("results"))

    def _setting(self, name: str) -> str:
        value = getattr(self.settings, name, None)
        if value is None or value == "":
            raise Misconfigured(
                f"{type(self.settings).__name__} has no {name!r}",
                code="port-not-configured",
                remedy="Give the function's settings that field, and its template the variable.",
            )
        return str(value)


class Job(Generic[S]):
    """One invocation: its ports, its log and the runs that it works for."""

    def __init__(self, function: str, ports: Ports[S], logger: Logger, context: LambdaContext) -> None:
        self.function = function
        self.ports = ports
        self.settings = ports.settings
        self.logger = logger
        self.context = context
        self._run_ids: list[str] = []
        self._counts: dict[str, int] = {}
        self._began = time.perf_counter()
        self._began_cpu = time.process_time()
        self._sent = requests_sent()

    @property
    def run_id(self) -> str:
        """The run that this invocation works for.

        Raises
        ------
        BadInput
            The event names none.
        """
        if not self._run_ids:
            raise BadInput(
                "The event names no run",
                code="event-invalid",
                remedy='Pass {"run_id": …} as the state machine does.',
            )
        return self._run_ids[-1]

    def concerns(self, run_id: str) -> None:
        """Say that the invocation now works for ``run_id``: in the log, and for what it uses."""
        if run_id not in self._run_ids:
            self._run_ids.append(run_id)
        self.logger.append_keys(run_id=run_id)

    def count(self, name: str, value: int = 1) -> None:
        """Add to a metric of this invocation, for example ``RunsFailed``."""
        self._counts[name] = self._counts.get(name, 0) + value

    def write_metrics(self) -> None:
        """Write what was counted, in CloudWatch's embedded format; nothing when nothing was."""
        if not self._counts:
            return
        from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

        metrics = EphemeralMetrics(namespace=NAMESPACE, service=self.function)
        metrics.add_dimension("stage", self.settings.stage)
        for name, value in self._counts.items():
            metrics.add_metric(name, MetricUnit.Count, value)
        metrics.flush_metrics()

    @property
    def seconds(self) -> float:
        """How long the invocation has taken so far."""
        return time.perf_counter() - self._began

    def note_usage(self) -> None:
        """Add the invocation to what its runs used; several runs in one batch share it evenly."""
        if not self._run_ids:
            return
        shares = len(self._run_ids)
        sent = requests_sent() - self._sent
        sent["table_writes"] += shares  # those that note this
        usage = Usage(
            self.function,
            invocations=1,
            billed_ms=math.ceil(self.seconds * 1000 / shares),
            cpu_ms=math.ceil((time.process_time() - self._began_cpu) * 1000 / shares),
            memory_mb=int(self.context.memory_limit_in_mb),
            **{kind: math.ceil(count / shares) for kind, count in sent.items()},
        )
        for run_id in self._run_ids:
            try:
                self.ports.runs.add_usage(run_id, usage)
            except MillraceError as error:  # a figure of the cost estimate must not fail the work it counts
                self.logger.warning("usage not recorded", extra={"reason": str(error)})

    def note_error(self, error: MillraceError) -> None:
        """Note a final error on the run, for ``finish``, which sees only its name and message."""
        if error.retry or not self._run_ids:
            return
        try:
            self.ports.runs.update(self.run_id, error=run_error(error, self.function))
        except MillraceError as second:  # the first error is the one to raise
            self.logger.warning("error not recorded on the run", extra={"reason": str(second)})


def stage(
    function: str, settings: type[S], *, state: RunState | None = None, sinks_run: bool = True
) -> Callable[[Callable[[dict[str, Any], Job[S]], R]], Callable[[dict[str, Any], LambdaContext], R]]:
    """Wrap a use case as a Lambda handler; see the module's text.

    Parameters
    ----------
    function : str
        The verb: the folder below ``functions/``, and the name in the log and in ``Run.usage``.
    settings : type
        The function's class of :mod:`millrace.edge.settings`.
    state : RunState, optional
        What the run's state becomes when this function begins.
    sinks_run : bool
        Whether an error raised here ends the run. ``False`` for a candidate of the Map, whose error is
        recorded with the candidate.
    """

    def decorate(
        use_case: Callable[[dict[str, Any], Job[S]], R],
    ) -> Callable[[dict[str, Any], LambdaContext], R]:
        @functools.cache
        def ports() -> Ports[S]:
            return Ports(settings.load(os.environ))

        @functools.cache
        def logger() -> Logger:
            from aws_lambda_powertools.logging import Logger

            return Logger(service=function)

        @functools.wraps(use_case)
        def handler(event: dict[str, Any], context: LambdaContext) -> R:
            log = logger()
            log.clear_state()
            log.append_keys(**_facts(context))
            job = Job(function, ports(), log, context)
            try:
                run_id = event.get("run_id")
                if isinstance(run_id, str):
                    job.concerns(run_id)
                if state is not None:
                    job.ports.runs.update(job.run_id, state=state)
                result = use_case(event, job)
            except MillraceError as error:
                log.error(
                    "failed",
                    extra={"error": type(error).__name__, "code": error.code, "reason": str(error)},
                    exc_info=error.retry or isinstance(error, Misconfigured),
                )
                if sinks_run:
                    job.note_error(error)
                raise
            except Exception:
                log.exception("failed unexpectedly")
                raise
            finally:
                job.write_metrics()
                job.note_usage()
            log.info("done", extra={"seconds": round(job.seconds, 3)})
            return result

        return handler

    return decorate


_cold = True


def _facts(context: LambdaContext) -> dict[str, object]:
    """Return what every log line says of the function, under the names that Powertools gives it."""
    global _cold
    cold, _cold = _cold, False
    return {
        "cold_start": cold,
        "function_name": context.function_name,
        "function_memory_size": context.memory_limit_in_mb,
        "function_arn": context.invoked_function_arn,
        "function_request_id": context.aws_request_id,
    }
