"""Files to score, the whole way: up, over the fan-out, and back beside the upload."""

from __future__ import annotations

import csv
import gzip
import io
import json
import urllib.parse
import urllib.request
from typing import Any

import pyarrow.parquet as pq
import pytest

from millrace import keys
from millrace.cli.http import post_file
from millrace.contracts import ScoreSpec
from millrace.runs.ingest import run_id_of
from tests.platform.stack import Stack
from tests.platform.test_accidents import execution, lay_out, open_run

MODEL = "penguins"


def table(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_a_file_comes_back_in_its_order_with_every_record_accounted_for(
    stack: Stack, scored: dict[str, Any], penguins_csv: bytes
) -> None:
    assert scored["state"] == "SUCCEEDED", scored["error"]
    assert (scored["kind"], scored["model"], scored["version"]) == ("score", MODEL, 1)
    assert (scored["rows_read"], scored["rows_scored"], scored["rows_rejected"]) == (347, 344, 3)
    assert scored["progress"]["score"]["done"] == scored["progress"]["score"]["total"] > 1
    assert scored["cost"]["usd"] > 0
    assert scored["result"] == f"s3://{stack.data_bucket}/scored/{MODEL}/rows.csv"
    sent, got = table(penguins_csv), table(stack.fetch(scored["result"]))
    assert [{name: row[name] for name in sent[0]} for row in got] == sent
    rejects = [json.loads(line) for line in stack.fetch(scored["rejects"]).splitlines()]
    assert [(reject["line"], reject["column"]) for reject in rejects] == [
        (42, ""),
        (203, ""),
        (204, "Body Mass (g)"),
    ]
    assert rejects[1]["record"] == "only one field\n"
    assert rejects[2]["reason"] == "'heavy' is not a finite number"
    report = json.loads(stack.fetch(scored["report"]))
    assert (report["version"], report["rows_scored"], report["run"]) == (1, 344, scored["run"])


def test_a_file_and_predict_give_the_same_answers(
    stack: Stack, scored: dict[str, Any], penguins_csv: bytes
) -> None:
    rows = [{name: value or None for name, value in row.items()} for row in table(penguins_csv)[::20]]
    answer = stack.post("/predict", {"model": MODEL, "version": 1, "rows": rows}).json
    got = table(stack.fetch(scored["result"]))[::20]
    assert [row["prediction"] for row in got] == answer["predictions"]
    for row, shares in zip(got, answer["probabilities"], strict=True):
        for label, share in shares.items():
            assert float(row[f"probability:{label}"]) == pytest.approx(share, rel=1e-14)


def test_a_compressed_file_comes_back_as_parquet(
    stack: Stack, scored: dict[str, Any], penguins_csv: bytes
) -> None:
    options = {"format": "parquet", "keep": ["Individual ID", "Body Mass (g)"], "version": 1}
    run = stack.wait(
        stack.upload_to_score(
            MODEL, gzip.compress(penguins_csv, mtime=0), file="a ü+b.csv.gz", options=options
        )
    )
    assert run["state"] == "SUCCEEDED", run["error"]
    assert run["result"].endswith(f"/scored/{MODEL}/a ü+b.parquet")
    made = pq.read_table(io.BytesIO(stack.fetch(run["result"]))).to_pydict()
    assert list(made)[:3] == ["Individual ID", "Body Mass (g)", "prediction"]
    assert made["Individual ID"] == [row["Individual ID"] for row in table(penguins_csv)]
    assert made["prediction"] == [row["prediction"] for row in table(stack.fetch(scored["result"]))]
    assert all(mass is None or isinstance(mass, float) for mass in made["Body Mass (g)"])


def test_links_lead_to_the_result(stack: Stack, scored: dict[str, Any]) -> None:
    links = stack.get(f"/runs/{scored['run']}/result").json
    for name in ("result", "rejects", "report"):
        with urllib.request.urlopen(links[name]) as response:
            assert response.read() == stack.fetch(scored[name])
    assert stack.get("/runs/nobody-000000000000/result").status == 404


def test_an_offered_upload_is_scored(stack: Stack, penguins: dict[str, Any], penguins_csv: bytes) -> None:
    asked = {"model": MODEL, "filename": "offered.csv", "score": {"version": 1, "keep": []}}
    offer = stack.post("/uploads", asked).json
    version = post_file(offer["url"], offer["fields"], penguins_csv, "offered.csv")
    assert version is not None
    run = stack.wait(run_id_of(stack.data_bucket, MODEL, offer["key"], version))
    assert (run["state"], run["version"], run["rows_scored"]) == ("SUCCEEDED", 1, 344), run["error"]
    assert next(iter(table(stack.fetch(run["result"]))[0])) == "prediction"


def test_a_repeated_event_scores_nothing_again(stack: Stack, scored: dict[str, Any]) -> None:
    key = scored["file"].removeprefix(f"s3://{stack.data_bucket}/")
    version = stack.s3.head_object(Bucket=stack.data_bucket, Key=key)["VersionId"]
    named = {"key": urllib.parse.quote_plus(key), "versionId": version, "size": 1, "eTag": "x"}
    record = {"eventSource": "aws:s3", "s3": {"bucket": {"name": stack.data_bucket}, "object": named}}
    answer = stack.platform.invoke("ingest", {"Records": [record]})
    assert answer.payload == {"runs": {scored["run"]: "SUCCEEDED"}}, answer.log
    assert stack.executions(scored["run"]) == [f"{scored['run']}-1"]


def test_a_file_that_does_not_fit_the_model_says_what_it_lacks(
    stack: Stack, penguins: dict[str, Any]
) -> None:
    run = stack.wait(stack.upload_to_score(MODEL, b"Island,Sex\nDream,MALE\n", file="few.csv"))
    assert (run["state"], run["error"]["code"]) == ("FAILED", "columns-missing")
    assert run["error"]["stage"] == "score"
    assert "'Body Mass (g)'" in run["error"]["message"]
    unknown = stack.wait(stack.upload_to_score("nobody", b"a,b\n1,2\n"))
    assert (unknown["state"], unknown["error"]["code"]) == ("FAILED", "model-unknown")


def test_a_chunk_that_cannot_be_scored_fails_the_run_with_the_workers_words(
    stack: Stack, penguins: dict[str, Any]
) -> None:
    run_id = open_run(stack, "poison-score", score=ScoreSpec(), model=MODEL, version=1)
    lay_out(stack, run_id, b"a,b\n1,2\n", end=8)  # the model's columns are not there
    stack.platform.client("stepfunctions").start_execution(
        stateMachineArn=stack.outputs["StateMachineArn"],
        name=f"{run_id}-1",
        input=json.dumps({"run_id": run_id, "kind": "score"}),
    )
    run = stack.wait(run_id)
    assert (run["state"], run["error"]["stage"], run["error"]["code"]) == ("FAILED", "score", "internal")
    assert "Chunk 0 failed unexpectedly: KeyError" in run["error"]["message"]
    assert json.loads(stack.read(keys.chunk_error(run_id, "score", 0)))["type"] == "KeyError"
    assert execution(stack, f"{run_id}-1") == "FAILED"


def test_a_score_run_whose_execution_is_gone_goes_on_where_it_was(
    stack: Stack, scored: dict[str, Any]
) -> None:
    run_id = open_run(stack, "lost-score", "SCORING", score=ScoreSpec(), model=MODEL, version=1)
    for key in stack.keys(keys.run(scored["run"])):
        copy = keys.run(run_id, key.removeprefix(keys.run(scored["run"])))
        if not copy.endswith("score/00000.json"):  # its worker had not come to an end
            stack.s3.put_object(Bucket=stack.artifact_bucket, Key=copy, Body=stack.read(key))
    answer = stack.platform.invoke("reconcile", {"quiet_s": 0})
    assert answer.payload["runs"][run_id] == "restarted", answer.log
    run = stack.wait(run_id)
    assert run["state"] == "SUCCEEDED", run["error"]
    assert stack.executions(run_id) == [f"{run_id}-2"]
    assert stack.fetch(run["result"]) == stack.fetch(scored["result"])
