"""Permissions that a role has though its function was not seen using them, with AWS's reason for each.

The embedded AWS notes every call that a role makes. What AWS itself does in a role's name, or asks for
besides the call, it does not; that is listed here, and nothing else. A permission that is neither used nor
listed fails ``tests/platform/test_least_privilege.py``, and so does a listed one that the role does not have.

A permission is ``(action, end of the resource)``; ``"*"`` is the literal resource.
"""

from __future__ import annotations

DELIVERY = {
    ("logs:CreateLogStream", ":*"): "Lambda writes the function's log with its role.",
    ("logs:PutLogEvents", ":*"): "Lambda writes the function's log with its role.",
    ("xray:PutTelemetryRecords", "*"): "Lambda sends the function's trace with its role; no resource exists.",
    ("xray:PutTraceSegments", "*"): "Lambda sends the function's trace with its role; no resource exists.",
}
"""Every function."""

_LOST = {
    ("sqs:SendMessage", "LostEventsQueue"): (
        "Lambda sends an event to the on-failure destination with the function's role, after its retries."
    )
}
_MISSING_KEY = "Without it S3 answers 403 instead of 404 for a key that is not there, which is expected here."

_MAPPING = {
    (f"kinesis:{call}", "stream/"): "The event source mapping reads the stream with this role."
    for call in ("DescribeStream", "DescribeStreamSummary", "ListShards")
}

_ROUNDS = "Only a table of which training draws a part is fitted in rounds over all of its rows."
_TURNS = "Only where one invocation is not enough does it store how far it is, for the next one to go on."
_SECOND_ROUND = (
    "Only of a table of over 200,000 cells do the better candidates go on after their first folds."
)
_DONE = "Reports a chunk whose work is done, when its workers could not; no run of these tests comes to that."

_TAKEN_OVER = "Goes on with what a worker left that died between two steps of a commit."

_SCHEDULED = "Trains again on a schedule where spec or code has changed; in these tests neither has by then."

REVIEWED: dict[str, dict[tuple[str, str], str]] = {
    "IngestFunction": {
        ("s3:ListBucket", "-data-"): _MISSING_KEY,
        ("s3:ListBucket", "-artifacts-"): _MISSING_KEY,
        **_LOST,
    },
    "CollectFunction": {
        ("s3:ListBucket", "-artifacts-"): _MISSING_KEY,
        ("s3:GetObject", "/candidates/*"): _SECOND_ROUND,
        ("s3:PutObject", "/candidates/going-on.json"): _SECOND_ROUND,
    },
    "DecideFunction": {("s3:ListBucket", "-artifacts-"): _MISSING_KEY},
    "FanOutFunction": {
        ("s3:ListBucket", "-artifacts-"): _MISSING_KEY,
        (
            "s3:GetObject",
            "/source.csv",
        ): "Looks at a range of an unpacked file again where a quote stays open.",
        ("s3:AbortMultipartUpload", "/upload.csv"): "Ends an upload of which the packed file was damaged.",
        ("s3:AbortMultipartUpload", "/files/*"): "Ends an upload that a service's fault cut off half-way.",
    },
    "PreprocessFunction": {
        ("s3:ListBucket", "-artifacts-"): _MISSING_KEY + " The on-failure destination in S3 needs it, too.",
        ("kinesis:PutRecords", "stream/"): "Lets the next ticket follow, while chunks are left.",
        **_MAPPING,
    },
    "AssembleFunction": {
        ("s3:AbortMultipartUpload", "/scored/*"): "Ends an upload that a service's fault cut off half-way.",
    },
    "ScoreFunction": {
        ("s3:ListBucket", "-data-"): _MISSING_KEY + " The on-failure destination in S3 needs it, too.",
        ("s3:ListBucket", "-artifacts-"): _MISSING_KEY,
        ("dynamodb:UpdateItem", "table/millrace-Ledger"): _TAKEN_OVER,
        ("s3:GetObject", "/streamed/*"): _TAKEN_OVER,
        ("s3:GetObject", "/rejects/*"): _TAKEN_OVER,
        **_MAPPING,
        **_LOST,
    },
    "ChunkFailedFunction": {
        ("s3:ListBucket", "-artifacts-"): _MISSING_KEY,
        **{("s3:GetObject", f"/runs/*/{name}/*"): _DONE for name in ("scan", "profile", "convert", "score")},
        ("states:SendTaskSuccess", "*"): _DONE,
        ("kinesis:PutRecords", "stream/"): _DONE,
        ("dynamodb:Query", "table/"): _DONE,
        **_LOST,
    },
    "ManageFunction": {
        ("s3:ListBucket", "-data-"): _MISSING_KEY,
        (
            "s3:DeleteObject",
            "/aliases/*",
        ): "Takes back a new alias on a version that somebody deleted at the same moment.",
    },
    "ReconcileFunction": dict(_LOST),
    "SelectFunction": {
        ("s3:GetObject", "/exact/*"): _ROUNDS,
        ("s3:GetObject", "/turns/*"): _TURNS,
        ("s3:PutObject", "/turns/select.npz"): _TURNS,
    },
    "TrainFunction": {
        ("s3:PutObject", "/turns/train-*"): _TURNS,
        ("s3:GetObject", "/exact/*"): _ROUNDS,
        ("s3:GetObject", "/layout.json"): _ROUNDS,
        ("s3:PutObject", "/exact/*"): _ROUNDS,
    },
    "RetrainFunction": {
        ("s3:ListBucket", "-artifacts-"): _MISSING_KEY,
        ("s3:GetObject", "/source.csv"): "Reads an upload that came compressed or in another encoding.",
        ("s3:GetObject", "/version.json"): _SCHEDULED,
        ("states:StartExecution", "stateMachine:"): _SCHEDULED,
        ("dynamodb:PutItem", "table/millrace-Runs"): _SCHEDULED,
        (
            "s3:AbortMultipartUpload",
            "/collected/*",
        ): "Ends an upload that a service's fault cut off half-way.",
        **_LOST,
    },
    "PredictFunction": {("s3:ListBucket", "-artifacts-"): _MISSING_KEY},
}
"""By function, besides :data:`DELIVERY`."""
