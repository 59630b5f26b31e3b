"""What Lambda promises a function: its environment, its limits, and the names of what goes wrong."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from tests.contract.local.conftest import Workshop, archive, eventually

pytestmark = pytest.mark.platform

REQUEST_LIMIT = 6 * 1024 * 1024
RESPONSE_LIMIT = REQUEST_LIMIT + 100


def test_a_handler_gets_its_event_and_its_context(workshop: Workshop) -> None:
    function = workshop.function(
        """
        def handler(event, context):
            return {
                "event": event,
                "name": context.function_name,
                "memory": context.memory_limit_in_mb,
                "arn": context.invoked_function_arn,
                "left": context.get_remaining_time_in_millis(),
                "request": context.aws_request_id,
                "group": context.log_group_name,
            }
        """,
        timeout_s=7,
    )
    got = function.invoke({"näme": [1, 2.5, None]})
    assert got["event"] == {"näme": [1, 2.5, None]}
    assert (got["name"], got["memory"], got["arn"]) == (function.name, "512", function.arn)
    assert got["group"] == f"/aws/lambda/{function.name}"
    assert 0 < got["left"] <= 7000
    assert len(got["request"]) == 36


def test_the_environment_is_that_of_lambda(workshop: Workshop) -> None:
    function = workshop.function("def handler(event, context): return dict(os.environ)")
    got = function.invoke({})
    assert got["AWS_LAMBDA_FUNCTION_NAME"] == function.name
    assert got["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert got["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert got["AWS_REGION"] == got["AWS_DEFAULT_REGION"] == "us-east-1"
    assert got["_HANDLER"] == "app.handler"
    assert got["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.12"
    assert got["AWS_ENDPOINT_URL"] == workshop.platform.endpoint
    assert got["_X_AMZN_TRACE_ID"].startswith("Root=1-")
    assert {"LAMBDA_TASK_ROOT", "AWS_LAMBDA_RUNTIME_API", "AWS_ACCESS_KEY_ID", "TZ", "LANG"} <= set(got)
    assert "VIRTUAL_ENV" not in got


def test_only_code_layers_and_the_runtime_are_importable(workshop: Workshop) -> None:
    first = workshop.layer(shared="who = 'first layer'", own="who = 'layer'", only_first="")
    second = workshop.layer(shared="who = 'second layer'")
    function = workshop.function(
        """
        import shared, own, only_first, boto3

        def handler(event, context):
            found = []
            for name in ("pytest", "mypy", "pandas", "sklearn", "millrace", "ministack"):
                try:
                    __import__(name)
                    found.append(name)
                except ImportError:
                    pass
            return {"shared": shared.who, "own": own.who, "leaked": found, "boto3": boto3.__file__}
        """,
        layers=(first, second),
        own="who = 'code'",
    )
    got = function.invoke({})
    assert got["shared"] == "second layer", "a later layer lies over an earlier one"
    assert got["own"] == "code", "the code lies over the layers"
    assert got["leaked"] == []


def test_a_sandbox_stays_warm_until_the_function_changes(workshop: Workshop) -> None:
    function = workshop.function(
        """
        count = 0

        def handler(event, context):
            global count
            count += 1
            return [os.getpid(), count]
        """
    )
    pid, first = function.invoke({})
    assert function.invoke({}) == [pid, first + 1]
    client = workshop.platform.client("lambda")
    client.update_function_code(
        FunctionName=function.name,
        ZipFile=archive({"app.py": "import os\n\ndef handler(event, context): return [os.getpid(), 'new']"}),
    )
    changed, answer = function.invoke({})
    assert answer == "new"
    assert changed != pid


def test_concurrent_invocations_have_a_process_each(workshop: Workshop) -> None:
    function = workshop.function(
        """
        def handler(event, context):
            meet("room", 4)
            return os.getpid()
        """
    )
    with ThreadPoolExecutor(4) as pool:
        pids = list(pool.map(function.invoke, range(4)))
    assert len(set(pids)) == 4


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("def handler(event, context): raise KeyError('gone')", "KeyError", "'gone'"),
        ("import not_there", "Runtime.ImportModuleError", "not_there"),
        ("raise ValueError('at import')", "ValueError", "at import"),
        ("def other(event, context): pass", "Runtime.HandlerNotFound", "handler"),
        ("def handler(event, context: return 1", "Runtime.UserCodeSyntaxError", "app"),
        ("def handler(event, context): os._exit(3)", "Runtime.ExitError", "exit status 3"),
        ("def handler(event, context): os._exit(0)", "Runtime.ExitError", "without providing a reason"),
        ("def handler(event, context): os.kill(os.getpid(), 11)", "Runtime.ExitError", "segmentation fault"),
        ("def handler(event, context): return {1, 2}", "Runtime.MarshalError", "serializable"),
    ],
    ids=[
        "raises",
        "import",
        "raises-at-import",
        "no-handler",
        "syntax",
        "exit",
        "exit-0",
        "signal",
        "not-json",
    ],
)
def test_what_goes_wrong_has_lambdas_name(workshop: Workshop, body: str, kind: str, message: str) -> None:
    function = workshop.function(body)
    failed = function.failure({})
    assert failed["errorType"] == kind
    assert message in failed["errorMessage"]


def test_a_function_works_again_after_it_crashed(workshop: Workshop) -> None:
    function = workshop.function(
        """
        def handler(event, context):
            if event == "crash":
                os._exit(1)
            return os.getpid()
        """
    )
    before = function.invoke("go")
    assert function.failure("crash")["errorType"] == "Runtime.ExitError"
    assert function.invoke("go") != before


def test_a_timeout_ends_the_sandbox(workshop: Workshop) -> None:
    function = workshop.function(
        """
        def handler(event, context):
            note(os.getpid())
            while event == "stay":
                pass
            return "done"
        """,
        timeout_s=1,
    )
    failed = function.failure("stay")
    assert failed["errorType"] == "Sandbox.Timedout"
    assert failed["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert function.invoke("go") == "done"
    first, second = function.events()
    assert first != second


def test_more_memory_than_the_function_has_ends_the_sandbox(workshop: Workshop) -> None:
    function = workshop.function(
        """
        def handler(event, context):
            held = bytearray(event << 20)
            time.sleep(1 if event > 128 else 0)
            return len(held)
        """,
        memory_mb=128,
    )
    failed = function.failure(300)
    assert failed["errorType"] == "Runtime.ExitError"
    assert failed["errorMessage"].endswith("Runtime exited with error: signal: killed")
    assert function.invoke(16) == 16 << 20


def test_a_request_may_have_6_mib(workshop: Workshop) -> None:
    function = workshop.function("def handler(event, context): return len(event)")
    client = workshop.platform.client("lambda")
    assert function.invoke("x" * (REQUEST_LIMIT - 2)) == REQUEST_LIMIT - 2
    with pytest.raises(ClientError) as refused:
        client.invoke(FunctionName=function.name, Payload=json.dumps("x" * (REQUEST_LIMIT - 1)).encode())
    assert refused.value.response["Error"]["Code"] == "RequestEntityTooLargeException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_an_asynchronous_request_may_have_1_mib(workshop: Workshop) -> None:
    function = workshop.function("def handler(event, context): note(len(event))")
    client = workshop.platform.client("lambda")
    fits = json.dumps("x" * ((1 << 20) - 2)).encode()
    answer = client.invoke(FunctionName=function.name, InvocationType="Event", Payload=fits)
    assert answer["StatusCode"] == 202
    with pytest.raises(ClientError, match="RequestEntityTooLargeException"):
        client.invoke(FunctionName=function.name, InvocationType="Event", Payload=fits[:-1] + b'x"')
    assert eventually(function.events) == [(1 << 20) - 2]


def test_a_response_may_have_6_mib_and_100_bytes(workshop: Workshop) -> None:
    function = workshop.function("def handler(event, context): return 'x' * event")
    assert len(function.invoke(RESPONSE_LIMIT - 2)) == RESPONSE_LIMIT - 2
    failed = function.failure(RESPONSE_LIMIT - 1)
    assert failed == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }


def test_what_a_function_writes_is_logged_with_a_report(workshop: Workshop) -> None:
    function = workshop.function(
        """
        import logging

        def handler(event, context):
            print("said")
            logging.getLogger().error("warned")
            sys.stderr.write("complained\\n")
        """
    )
    log = workshop.platform.invoke(function.name, {}).log
    start, said, warned, complained, end, report = log.strip().splitlines()
    assert start.startswith("START RequestId: ") and start.endswith("Version: $LATEST")
    assert (said, complained) == ("said", "complained")
    assert warned.startswith("[ERROR]") and warned.endswith("warned")
    assert end.startswith("END RequestId: ")
    names = [field.partition(":")[0] for field in report.split("\t")]
    assert names == [
        "REPORT RequestId",
        "Duration",
        "Billed Duration",
        "Memory Size",
        "Max Memory Used",
        "Init Duration",
    ]
    logs = workshop.platform.client("logs")
    events = logs.filter_log_events(logGroupName=f"/aws/lambda/{function.name}")["events"]
    assert "said" in [event["message"] for event in events]


def test_an_asynchronous_failure_is_tried_three_times(workshop: Workshop) -> None:
    function = workshop.function(
        """
        def handler(event, context):
            note(event)
            raise ValueError("no")
        """
    )
    client = workshop.platform.client("lambda")
    client.put_function_event_invoke_config(FunctionName=function.name, MaximumRetryAttempts=1)
    client.invoke(FunctionName=function.name, InvocationType="Event", Payload=b'"e"')
    assert eventually(lambda: len(function.events()) == 2)
