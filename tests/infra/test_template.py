"""What the template promises: private, encrypted, bounded, and tied to no account or region."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from millrace.edge import serving
from tests.infra.template import ROOT, functions, resources, statements, template, verb

BUCKETS = {"DataBucket": "data", "ArtifactBucket": "artifacts"}


def walk(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict):
        for part in value.values():
            yield from walk(part)
    elif isinstance(value, list):
        for part in value:
            yield from walk(part)


@pytest.mark.parametrize("bucket", BUCKETS)
def test_buckets_are_encrypted_versioned_private_and_tidy(bucket: str) -> None:
    properties = resources("AWS::S3::Bucket")[bucket]
    rules = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rules[0]["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    lifecycle = properties["LifecycleConfiguration"]["Rules"]
    assert any("NoncurrentVersionExpiration" in rule for rule in lifecycle)
    assert any("AbortIncompleteMultipartUpload" in rule for rule in lifecycle)


@pytest.mark.parametrize("bucket", BUCKETS)
def test_buckets_answer_over_tls_only(bucket: str) -> None:
    statement = resources("AWS::S3::BucketPolicy")[f"{bucket}Policy"]["PolicyDocument"]["Statement"][0]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert len(statement["Resource"]) == 2


def triggers() -> list[tuple[str, str, str]]:
    """Return bucket, prefix and function of each notification."""
    found = []
    for bucket in BUCKETS:
        notification = resources("AWS::S3::Bucket")[bucket]["NotificationConfiguration"]
        for entry in notification["LambdaConfigurations"]:
            rules = {rule["Name"]: rule["Value"] for rule in entry["Filter"]["S3Key"]["Rules"]}
            found.append((bucket, rules["prefix"], entry["Function"]["Fn::GetAtt"][0]))
    return found


def test_uploads_and_failed_batches_trigger_their_functions() -> None:
    assert triggers() == [
        ("DataBucket", "datasets/", "IngestFunction"),
        ("DataBucket", "score/", "IngestFunction"),
        ("ArtifactBucket", "aws/lambda/", "ChunkFailedFunction"),
    ]


def test_no_function_writes_where_a_notification_listens() -> None:
    """These are meant to: presigned uploads, Lambda's own on-failure destination, and files of new rows."""
    meant = {
        ("ManageFunction", "DataBucket"),
        ("PreprocessFunction", "ArtifactBucket"),
        ("RetrainFunction", "DataBucket"),
    }
    writers = set()
    for function in functions():
        for actions, targets in statements(function):
            if not any(action in ("s3:PutObject", "s3:*") for action in actions):
                continue
            for target in targets:
                text = target.get("Fn::Sub", "") if isinstance(target, dict) else target
                for bucket, prefix, _ in triggers():
                    name, _, path = text.rpartition(":::")[2].partition("/")
                    listens = path.startswith(prefix) or prefix.startswith(path.rstrip("*")) or path == "*"
                    if f"-{BUCKETS[bucket]}-" in name and listens:
                        writers.add((function, bucket))
    assert writers == meant


def test_roles_name_actions_and_resources() -> None:
    for function in functions():
        for actions, targets in statements(function):
            assert not [action for action in actions if "*" in action], f"{function}: {actions}"
            if "*" in targets:
                assert all(action.split(":")[0] in ("xray", "states") for action in actions), function
                assert not {"states:StartExecution", "states:DescribeExecution"} & set(actions)


def test_each_function_has_a_role_and_a_log_of_its_own() -> None:
    roles = [properties["Role"]["Fn::GetAtt"][0] for properties in functions().values()]
    logs = [properties["LoggingConfig"]["LogGroup"]["Ref"] for properties in functions().values()]
    assert len(set(roles)) == len(set(logs)) == len(functions()) == 17
    for log_group in resources("AWS::Logs::LogGroup").values():
        assert log_group["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_functions_are_those_of_the_folders() -> None:
    assert {verb(name) for name in functions()} == {
        path.parent.name for path in (ROOT / "functions").glob("*/app.py")
    }


def test_the_stream_gives_up_and_says_so() -> None:
    mapping = resources("AWS::Lambda::EventSourceMapping")["ChunksMapping"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BisectBatchOnFunctionError"] is True
    assert 0 < mapping["MaximumRetryAttempts"] <= 5
    assert 60 <= mapping["MaximumRecordAgeInSeconds"] <= 86400
    failures = mapping["DestinationConfig"]["OnFailure"]
    # By reference, so that the bucket is there before the mapping that names it.
    assert failures == {"Destination": {"Fn::GetAtt": ["ArtifactBucket", "Arn"]}}
    assert mapping["ParallelizationFactor"] == {"Ref": "ParallelizationFactor"}


def test_the_stream_of_rows_gives_up_where_nothing_listens() -> None:
    mapping = resources("AWS::Lambda::EventSourceMapping")["RowsMapping"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BisectBatchOnFunctionError"] is True
    assert 0 < mapping["MaximumRetryAttempts"] <= 5
    function = functions()["ScoreFunction"]
    assert function["Timeout"] * (mapping["MaximumRetryAttempts"] + 1) <= mapping["MaximumRecordAgeInSeconds"]
    destination = mapping["DestinationConfig"]["OnFailure"]["Destination"]
    assert destination == {"Fn::GetAtt": ["DataBucket", "Arn"]}
    assert not [prefix for bucket, prefix, _ in triggers() if bucket == "DataBucket" and "aws" in prefix]


def test_the_streams_of_rows_are_left_out_unless_asked_for() -> None:
    """Their shards cost while idle; what belongs to them has their condition."""
    assert template()["Parameters"]["RowsShardCount"]["Default"] == 0
    parts = (
        *("RowsStream", "ScoredStream", "LedgerTable", "ScoreStreamsPolicy", "RowsMapping"),
        "RetrainLedgerPolicy",
    )
    assert {template()["Resources"][part]["Condition"] for part in parts} == {"WithRows"}
    # Retraining is also there for a schedule; what looks every minute is switched off without the streams.
    parts = ("RetrainFunction", "RetrainRole", "RetrainLogGroup")
    assert {template()["Resources"][part]["Condition"] for part in parts} == {"WithRetrain"}
    assert template()["Parameters"]["RetrainSchedule"]["Default"] == ""
    events = functions()["RetrainFunction"]["Events"]
    assert {name: event["Properties"]["State"]["Fn::If"] for name, event in events.items()} == {
        "EveryMinute": ["WithRows", "ENABLED", "DISABLED"],
        "OnSchedule": ["WithSchedule", "ENABLED", "DISABLED"],
    }
    assert resources("AWS::DynamoDB::Table")["LedgerTable"]["TimeToLiveSpecification"]["Enabled"] is True
    for stream in ("RowsStream", "ScoredStream"):
        assert resources("AWS::Kinesis::Stream")[stream]["StreamEncryption"]["EncryptionType"] == "KMS"


def test_chunks_go_over_the_stream_or_through_a_map() -> None:
    """The stream's shards cost while idle: what belongs to either way has its condition."""
    every = template()["Resources"]
    assert template()["Parameters"]["FanOut"]["Default"] == "stream"
    stream = (
        "ChunkStream",
        "ChunksMapping",
        "PreprocessStreamPolicy",
        "FanOutStreamPolicy",
        "ChunkFailedStreamPolicy",
    )
    assert {every[part]["Condition"] for part in stream} == {"WithStream"}
    machine = ("ChunkStateMachine", "ChunkStateMachineRole", "ChunkStateMachineLogGroup", "FanOutMapPolicy")
    assert {every[part]["Condition"] for part in machine} == {"WithMap"}


def test_a_retry_fits_into_the_age_of_a_record() -> None:
    function = functions()["PreprocessFunction"]
    mapping = resources("AWS::Lambda::EventSourceMapping")["ChunksMapping"]
    tries = mapping["MaximumRetryAttempts"] + 1
    assert function["Timeout"] * tries <= mapping["MaximumRecordAgeInSeconds"]


@pytest.mark.parametrize(
    "function",
    ["IngestFunction", "ChunkFailedFunction", "ReconcileFunction", "RetrainFunction", "ScoreFunction"],
)
def test_events_that_nobody_waits_for_have_a_destination(function: str) -> None:
    destination = functions()[function]["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]
    assert destination == {"Type": "SQS", "Destination": {"Fn::GetAtt": ["LostEventsQueue", "Arn"]}}


def test_what_holds_state_is_encrypted_and_restorable() -> None:
    table = resources("AWS::DynamoDB::Table")["RunsTable"]
    assert table["SSESpecification"]["SSEEnabled"] is True
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert resources("AWS::Kinesis::Stream")["ChunkStream"]["StreamEncryption"]["EncryptionType"] == "KMS"
    assert resources("AWS::SQS::Queue")["LostEventsQueue"]["SqsManagedSseEnabled"] is True


def test_every_route_asks_who_calls() -> None:
    routes = resources("AWS::ApiGatewayV2::Route")
    assert "$default" in {route["RouteKey"] for route in routes.values()}
    for route in routes.values():
        assert route["AuthorizationType"] == {"Fn::If": ["JwtAuth", "JWT", "AWS_IAM"]}
    assert template()["Parameters"]["AuthMode"]["Default"] == "iam"


def test_the_routes_of_predict_are_those_that_are_described() -> None:
    """All of ``/v2`` is its own, so that what is not there is answered in that protocol, too."""
    leading = {
        route["RouteKey"]
        for route in resources("AWS::ApiGatewayV2::Route").values()
        if "PredictIntegration" in str(route["Target"])
    }
    described = {f"{method} {rule}" for method, rule, *_ in serving.routes() if not rule.startswith("/v2")}
    described = {key.replace("<", "{").replace(">", "}") for key in described}
    assert leading == described | {"ANY /v2", "ANY /v2/{proxy+}"}


def test_a_body_within_our_limit_fits_into_lambdas_event() -> None:
    """API Gateway passes a body as base64 or as escaped JSON, together with headers of at most 10 KiB."""
    variables = functions()["PredictFunction"]["Environment"]["Variables"]
    limit_bytes = int(variables["MILLRACE_MAX_BODY_BYTES"])
    others_bytes = 64 << 10
    assert limit_bytes * 4 / 3 + others_bytes < 6_291_556
    rows = ',{"a":1,"b":2}' * 1000  # as dense in quotes as rows are in practice
    assert limit_bytes * len(json.dumps(rows)) / len(rows) + others_bytes < 6_291_556


def test_every_parameter_has_a_default_and_a_description() -> None:
    for name, parameter in template()["Parameters"].items():
        assert "Default" in parameter, name
        assert parameter["Description"], name


def test_nothing_is_tied_to_an_account_a_region_or_a_partition() -> None:
    for value in walk(template()):
        if isinstance(value, str):
            assert not re.search(r"\b\d{12}\b", value), value
            assert not re.search(r"arn:aws[a-z-]*:", value), value
            assert not re.search(r"\b(us|eu|ap|sa|ca|me|af)-[a-z]+-\d\b", value.replace("(us-east-1)", "")), (
                value
            )


def test_the_layers_of_a_function_fit_its_work() -> None:
    attached = {name: properties.get("Layers", []) for name, properties in functions().items()}

    def names(used: Any) -> list[str]:
        return [layer["Ref"].removesuffix("Layer") for layer in used] if isinstance(used, list) else []

    # Whoever serves no ONNX models does not pay for them; who does has numpy once.
    assert template()["Parameters"]["OnnxModels"]["Default"] == "false"
    conditional = {name: used["Fn::If"] for name, used in attached.items() if "Fn::If" in used}
    assert {condition for condition, _, _ in conditional.values()} == {"WithOnnx"}
    assert {name: names(used) for name, (_, used, _) in conditional.items()} == {
        "PredictFunction": ["Arrays", "Onnx"],
        "PreprocessFunction": ["Core", "Columnar", "Onnx"],
        "ScoreFunction": ["Core", "Arrays", "Onnx"],
    }
    attached |= {name: used for name, (_, _, used) in conditional.items()}
    assert attached.pop("PredictFunction") == {"Ref": "AWS::NoValue"}
    layers = {name: names(used) for name, used in attached.items()}
    assert all(used[0] == "Core" for used in layers.values())
    assert not [name for name, used in layers.items() if {"Science", "Columnar"} <= set(used)]


def test_the_outputs_name_what_a_client_needs() -> None:
    assert {"DataBucket", "ArtifactBucket", "ApiUrl", "StateMachineArn", "StreamName"} <= set(
        template()["Outputs"]
    )


def test_the_state_machine_is_given_what_its_definition_names() -> None:
    text = (ROOT / "statemachines" / "run.asl.json").read_text("utf-8")
    json.loads(text)
    given = resources("AWS::Serverless::StateMachine")["RunStateMachine"]["DefinitionSubstitutions"]
    assert set(re.findall(r"\$\{(\w+)\}", text)) == set(given)
