"""The command line against an HTTP interface of our own making: answers, exit codes, and nothing else."""

from __future__ import annotations

import csv
import io
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from millrace.cli import main
from millrace.cli.console import Console
from millrace.cli.follow import PlainDisplay, follow
from millrace.cli.http import Api
from millrace.cli.predict import TRIES, predict
from millrace.cli.train import dataset_name
from millrace.errors import BadInput, TransientError

RUN: dict[str, Any] = {
    "state": "SUCCEEDED",
    "dataset": "birds",
    "model": "birds",
    "version": 3,
    "promoted": True,
    "created_at": "2026-11-20T10:00:00.000Z",
    "updated_at": "2026-11-20T10:00:09.000Z",
    "file": "s3://data/datasets/birds/birds.csv",
    "target": "species",
    "task": "binary",
    "rows_read": 10,
    "rows_kept": 9,
    "rows_rejected": 1,
    "rows_trained": 7,
    "rejects": "s3://artifacts/runs/x/rejects/",
    "progress": {"profile": {"done": 1, "total": 1}, "train": {"done": 4, "total": 4}},
    "metrics": {"accuracy": 0.9},
    "baseline": {"accuracy": 0.5},
    "report": "s3://artifacts/runs/x/report.html",
    "warnings": ["The target is the last column."],
    "error": None,
    "cost": {"usd": 0.002},
}


class Millrace:
    """A deployment's HTTP interface and bucket, as far as the command line uses them."""

    def __init__(self) -> None:
        self.uploads: list[tuple[dict[str, str], bytes]] = []
        self.requests: list[tuple[str, str, Any]] = []
        self.run = dict(RUN)
        self.states = ["QUEUED", "TRAINING", "SUCCEEDED"]
        self.live: int | None = 3
        self.refuse_row: str | None = None
        self.most_rows = 500
        self.troubles = 0
        self.fields = [("mass", "number"), ("note", "text"), ("island", "category")]
        handler = type("Handler", (_Handler,), {"millrace": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/uploads":
            folder = f"score/{body['model']}" if "model" in body else f"datasets/{body['dataset']}"
            key = f"{folder}/{body['filename']}"
            fields = {"key": key, "x-amz-meta-force": str(body.get("force", False)).lower()}
            if "score" in body:
                fields["x-amz-meta-score"] = json.dumps(body["score"])
            return 200, {"url": f"{self.url}/bucket/", "fields": fields, "bucket": "data", "key": key}
        if path.startswith("/runs/") and "/rejects" in path:
            second = {"line": 9, "offset": 99, "column": "size", "reason": "the target is missing"}
            page = {"header": "size;name\n", "encoding": "utf-8", "rejects": [], "next": None}
            if "cursor=" in path:
                return 200, {**page, "rejects": [{**second, "record": ";b\udce9"}]}
            first = {"line": 3, "offset": 20, "column": "", "reason": "too few fields: 1 instead of 2"}
            return 200, {**page, "rejects": [{**first, "record": "one\n"}], "next": "0:10"}
        if path.startswith("/runs/") and path.endswith("/result"):
            return 200, {name: f"{self.url}/links/{name}" for name in ("result", "rejects", "report")}
        if path.startswith("/links/"):
            return 200, {"this is": path.removeprefix("/links/")}
        if path.startswith("/runs/"):
            if not self.uploads:
                return 404, {"code": "run-unknown", "detail": "There is no such run."}
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            if state == "BROKEN":
                return 500, {"code": "internal", "detail": "Something went wrong on our side."}
            return 200, {**self.run, "run": path.removeprefix("/runs/"), "state": state}
        if path == "/runs":
            return 200, {"runs": [{**self.run, "run": "birds-1"}], "next": None}
        if path == "/models":
            return 200, {"models": [{"model": "birds", "live": 3}]}
        if path == "/models/birds":
            versions = [{"version": 3, "created_at": "2026-11-20", "metrics": {"accuracy": 0.9}}]
            return 200, {
                "model": "birds",
                "live": self.live,
                "versions": versions,
                "history": [
                    {"at": "2026", "action": "promoted", "version": 3, "by": "ada", "why": "Better."}
                ],
            }
        if path == "/models/birds/compare":
            change = {"says": "The column 'mass' is missing."}
            pair = {"version": 0.9, "other": 0.8, "better": 3}
            differences = [{"what": "seed", "version": 1, "other": None}]
            return 200, {
                **{"model": "birds", "version": 3, "other": 2, "metrics": {"accuracy": pair}},
                **{"changes": [change], "differences": differences},
            }
        if path == "/models/birds/versions/3":
            signature = [{"name": n, "type": t} for n, t in self.fields]
            return 200, {"version": 3, "signature": signature, "classes": ["a", "b"]}
        if (method, path) == ("DELETE", "/models/birds/versions/2?reason=old"):
            return 200, {"model": "birds", "version": 2}
        if path == "/datasets/birds/retrain":
            return 200, {**self.run, "run": "birds-2"}
        if path in ("/models/birds/promote", "/models/birds/rollback"):
            return 200, {"model": "birds", "version": body.get("version", 2)}
        if path == "/predict":
            return self.predict(body["rows"])
        return 404, {"code": "model-unknown", "detail": "There is no such model."}

    def predict(self, rows: list[dict[str, Any]]) -> tuple[int, Any]:
        if self.troubles:
            self.troubles -= 1
            return 503, {"code": "service-unavailable", "detail": "Try again."}
        if len(rows) > self.most_rows:
            return 413, {"code": "answer-too-large", "detail": "The answer would be too large."}
        for index, row in enumerate(rows):
            if row.get("mass") is not None and row.get("mass") == self.refuse_row:
                errors = [{"row": index, "field": "mass", "code": "type", "message": "no number"}]
                return 422, {"code": "value-refused", "detail": "mass is no number.", "errors": errors}
        warnings = [
            {"row": index, "field": "mass", "code": "missing", "message": "mass is missing"}
            for index, row in enumerate(rows)
            if row.get("mass") is None
        ]
        warnings += [
            {"row": index, "field": None, "code": "not-finite", "message": "no finite number"}
            for index, row in enumerate(rows)
            if row.get("mass") == "1e300"
        ]
        shares = [{"a": 0.25, "b": 0.75}] * len(rows)
        names = [f"b{row.get('mass') or ''}" for row in rows]
        return 200, {
            "model": "birds",
            "version": 3,
            "predictions": names,
            "probabilities": shares,
            "warnings": warnings,
        }


class _Handler(BaseHTTPRequestHandler):
    millrace: Millrace

    def do_GET(self) -> None:
        self._reply(*self._answer("GET", None))

    def do_DELETE(self) -> None:
        self._reply(*self._answer("DELETE", None))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path.startswith("/bucket/"):
            boundary = self.headers["content-type"].split("boundary=")[1].encode()
            parts = [part.strip(b"\r\n") for part in body.split(b"--" + boundary)[1:-1]]
            fields, content = {}, b""
            for part in parts:
                head, _, value = part.partition(b"\r\n\r\n")
                found = re.search(rb'name="([^"]+)"', head)
                assert found is not None
                if found.group(1) == b"file":
                    content = value
                else:
                    fields[found.group(1).decode()] = value.decode()
            self.millrace.uploads.append((fields, content))
            self.send_response(204)
            self.send_header("x-amz-version-id", "v1")
            self.end_headers()
            return
        self._reply(*self._answer("POST", json.loads(body)))

    def _answer(self, method: str, body: Any) -> tuple[int, Any]:
        self.millrace.requests.append((method, self.path, body))
        return self.millrace.answer(method, self.path, body)

    def _reply(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        return None


@pytest.fixture
def millrace() -> Iterator[Millrace]:
    service = Millrace()
    yield service
    service.server.shutdown()
    service.server.server_close()


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    file = tmp_path / "birds.csv"
    file.write_text("mass,note,island,species\n1,x,A,a\nNA,NA,NA,b\n,,,b\n")
    return file


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_train_prints_the_run_and_nothing_else(
    millrace: Millrace, birds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["train", str(birds), "--wait", "--json", "--endpoint", millrace.url])
    shown = capsys.readouterr()
    run = json.loads(shown.out)
    assert code == 0
    assert shown.out.count("\n") == 1
    assert {"run", "model", "rows_trained", "metrics", "warnings", "error"} <= set(run)
    assert (run["state"], run["version"], run["rows_read"]) == ("SUCCEEDED", 3, 10)
    assert "birds: training" in shown.err
    assert millrace.uploads == [
        ({"key": "datasets/birds/birds.csv", "x-amz-meta-force": "false"}, birds.read_bytes().strip())
    ]


def test_train_sends_the_spec_first(millrace: Millrace, birds: Path, tmp_path: Path) -> None:
    spec = tmp_path / "my.json"
    spec.write_text('{"target": "mass", "seed": 4, "exclude": ["note"]}')
    arguments = ["--dataset", "own", "--spec", str(spec), "--target", "species", "--force"]
    assert main(["train", str(birds), *arguments, "--endpoint", millrace.url]) == 0
    (first, content), (second, _) = millrace.uploads
    assert first["key"] == "datasets/own/spec.json"
    assert json.loads(content) == {"target": "species", "seed": 4, "exclude": ["note"]}
    assert (second["key"], second["x-amz-meta-force"]) == ("datasets/own/birds.csv", "true")


def test_train_fails_with_its_run(
    millrace: Millrace, birds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    millrace.states = ["FAILED"]
    millrace.run = {
        **RUN,
        "version": None,
        "error": {"code": "x", "message": "The target is constant.", "stage": "decide"},
    }
    assert main(["train", str(birds), "--wait", "--json", "--endpoint", millrace.url]) == 1
    assert answer(capsys)["error"]["message"] == "The target is constant."


def test_train_names_its_run_when_following_breaks_off(
    millrace: Millrace, birds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    millrace.states = ["QUEUED", "BROKEN"]
    assert main(["train", str(birds), "--wait", "--json", "--endpoint", millrace.url]) == 1
    assert re.search(r"\(following run birds-[0-9a-f]{12}\)", answer(capsys)["error"]["message"])


@pytest.mark.parametrize(
    "spec", ["{", '{"tarket": "a"}', '{"seed": "one"}', "[]"], ids=["no-json", "unknown", "type", "list"]
)
def test_train_refuses_a_wrong_spec_before_it_uploads(
    millrace: Millrace, birds: Path, tmp_path: Path, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "spec.json"
    file.write_text(spec)
    assert main(["train", str(birds), "--spec", str(file), "--json", "--endpoint", millrace.url]) == 1
    found = answer(capsys)
    assert found["error"]["code"] and found["state"] is None and found["run"] is None
    assert millrace.uploads == []


@pytest.fixture
def scoring(millrace: Millrace) -> Millrace:
    """A deployment whose run scores."""
    millrace.states = ["QUEUED", "SCORING", "ASSEMBLING", "SUCCEEDED"]
    millrace.run |= {"kind": "score", "rows_rejected": 1, "rows_scored": 2, "result": "s3://data/scored/x"}
    return millrace


def test_score_uploads_follows_and_downloads(
    scoring: Millrace, birds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "answers.csv"
    options = ["--version", "2", "--keep", "mass", "--strict", "--output", str(output), "--json"]
    assert main(["score", "birds", str(birds), "--endpoint", scoring.url, *options]) == 0
    ((fields, content),) = scoring.uploads
    assert (fields["key"], content) == (f"score/birds/{birds.name}", birds.read_bytes().strip())
    assert json.loads(fields["x-amz-meta-score"]) == {"version": 2, "keep": ["mass"], "strict": True}
    assert json.loads(output.read_bytes()) == {"this is": "result"}
    assert json.loads((tmp_path / "answers.csv.rejects.jsonl").read_bytes()) == {"this is": "rejects"}
    shown = capsys.readouterr()
    answered = json.loads(shown.out)
    assert (answered["state"], answered["rows_scored"], answered["output"]) == ("SUCCEEDED", 2, str(output))
    assert "assembling" in shown.err


def test_score_returns_at_once_unless_told_to_wait(scoring: Millrace, birds: Path) -> None:
    assert main(["score", "birds", str(birds), "--endpoint", scoring.url]) == 0
    assert scoring.states[0] == "SCORING"
    assert "x-amz-meta-score" not in scoring.uploads[0][0]


def test_score_of_a_file_that_fails_leaves_no_output(scoring: Millrace, birds: Path, tmp_path: Path) -> None:
    scoring.states = ["FAILED"]
    output = tmp_path / "answers.csv"
    assert main(["score", "birds", str(birds), "--endpoint", scoring.url, "--output", str(output)]) == 1
    assert not output.exists()


def test_score_refuses_wrong_options_before_it_uploads(scoring: Millrace, birds: Path) -> None:
    assert main(["score", "birds", str(birds), "--endpoint", scoring.url, "--version", "0"]) == 1
    assert scoring.uploads == []


def test_predict_writes_a_line_for_each_row(
    millrace: Millrace, birds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.csv"
    asked = ["predict", "birds", "--csv", str(birds), "--output", str(output)]
    assert main([*asked, "--json", "--endpoint", millrace.url]) == 0
    assert output.read_text() == (
        "prediction,probability:a,probability:b\nb1,0.25,0.75\nb,0.25,0.75\nb,0.25,0.75\n"
    )
    summary = answer(capsys)
    assert (summary["rows"], summary["version"], summary["unused"]) == (3, 3, ["species"])
    assert summary["warnings"] == [
        {"code": "missing", "field": "mass", "rows": 2, "message": "mass is missing"}
    ]
    sent = next(body for _, path, body in millrace.requests if path == "/predict")
    assert sent["rows"] == [
        {"mass": "1", "note": "x", "island": "A"},
        {"mass": None, "note": "NA", "island": "NA"},
        {"mass": None, "note": None, "island": None},
    ]


def test_predict_sends_blocks_and_keeps_the_order(
    millrace: Millrace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "many.csv"
    file.write_text("mass,note\n" + "".join(f"{n},t\n" for n in range(1234)))
    assert main(["predict", "birds", "--csv", str(file), "--endpoint", millrace.url]) == 0
    lines = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert [line[0] for line in lines[1:]] == [f"b{n}" for n in range(1234)]
    sizes = [len(body["rows"]) for _, path, body in millrace.requests if path == "/predict"]
    assert sizes == [500, 500, 234]


def test_predict_sends_less_where_an_answer_would_be_too_large(
    millrace: Millrace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "many.csv"
    file.write_text("mass,note\n" + "".join(f"{n},t\n" for n in range(1234)))
    millrace.most_rows = 130
    assert main(["predict", "birds", "--csv", str(file), "--endpoint", millrace.url]) == 0
    lines = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert [line[0] for line in lines[1:]] == [f"b{n}" for n in range(1234)]
    sizes = [len(body["rows"]) for _, path, body in millrace.requests if path == "/predict"]
    assert sizes[:4] == [500, 250, 125, 125]
    millrace.refuse_row = "1001"
    assert main(["predict", "birds", "--csv", str(file), "--endpoint", millrace.url]) == 1
    assert "many.csv, line 1003" in capsys.readouterr().err
    millrace.most_rows = 0
    assert main(["predict", "birds", "--csv", str(file), "--endpoint", millrace.url]) == 1
    assert "The answer would be too large." in capsys.readouterr().err


def test_predict_outlives_short_trouble_but_not_long(millrace: Millrace, tmp_path: Path, birds: Path) -> None:
    waits: list[float] = []
    output = tmp_path / "out.csv"
    api, console = Api(millrace.url), Console(err=io.StringIO())
    millrace.troubles = TRIES - 1
    assert predict(api, console, "birds", birds, output, sleep=waits.append) == 0
    assert len(output.read_text().splitlines()) == 4
    assert len(waits) == TRIES - 1 and max(waits) <= 8
    millrace.troubles = TRIES
    with pytest.raises(TransientError, match="Try again"):
        predict(api, console, "birds", birds, None, sleep=waits.append)


def test_predict_tells_of_results_that_are_no_numbers(
    millrace: Millrace, birds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    birds.write_text("mass,note,island\n1e300,x,A\n2,x,A\n")
    assert main(["predict", "birds", "--csv", str(birds), "--json", "--endpoint", millrace.url]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert (found["warnings_cut"], found["warnings"]) == (
        False,
        [{"code": "not-finite", "field": None, "rows": 1, "message": "no finite number"}],
    )
    assert "not-finite: 1 rows" in shown.err


def test_predict_of_no_rows_has_the_header_of_any(
    millrace: Millrace, birds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    birds.write_text("mass,note,island\n")
    assert main(["predict", "birds", "--csv", str(birds), "--endpoint", millrace.url]) == 0
    assert capsys.readouterr().out == "prediction,probability:a,probability:b\n"


def test_a_file_that_cannot_be_written_is_a_failure_with_its_json(
    millrace: Millrace, birds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / "absent" / "out.csv"
    asked = ["predict", "birds", "--csv", str(birds), "--output", str(absent), "--json"]
    assert main([*asked, "--endpoint", millrace.url]) == 1
    found = answer(capsys)
    assert found["error"]["code"] == "file-access"
    assert str(absent) in found["error"]["message"]


def test_predict_knows_a_header_of_numbers_by_the_models_fields(
    millrace: Millrace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    millrace.fields = [("mass", "number"), ("1", "number"), ("2", "number")]
    file = tmp_path / "numbers.csv"
    file.write_text("1,2\n" + "".join(f"{n % 5},{n % 4}\n" for n in range(30)))
    assert main(["predict", "birds", "--csv", str(file), "--json", "--endpoint", millrace.url]) == 0
    found = answer(capsys)
    assert (found["rows"], found["absent"]) == (30, ["mass"])


def test_predict_pins_the_version_that_was_live(millrace: Millrace, birds: Path) -> None:
    assert main(["predict", "birds", "--csv", str(birds), "--endpoint", millrace.url]) == 0
    sent = next(body for _, path, body in millrace.requests if path == "/predict")
    assert (sent["model"], sent["version"]) == ("birds", 3)


def test_predict_without_a_live_version_says_what_to_do(
    millrace: Millrace, birds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    millrace.live = None
    assert main(["predict", "birds", "--csv", str(birds), "--endpoint", millrace.url]) == 1
    assert "millrace promote birds" in capsys.readouterr().err


def test_predict_inline_json(millrace: Millrace, birds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "birds", "--csv", str(birds), "--json", "--endpoint", millrace.url]) == 0
    found = answer(capsys)
    assert found["predictions"] == ["b1", "b", "b"]
    assert found["probabilities"][0] == {"a": 0.25, "b": 0.75}


def test_predict_names_the_line_and_leaves_no_half_file(
    millrace: Millrace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, output = tmp_path / "many.csv", tmp_path / "out.csv"
    file.write_text("mass,note\n" + "".join(f"{n},t\n" for n in range(600)))
    millrace.refuse_row = "555"
    asked = ["predict", "birds", "--csv", str(file), "--output", str(output), "--endpoint", millrace.url]
    assert main(asked) == 1
    assert "many.csv, line 557" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["runs"], "birds-1"),
        (["runs", "birds-1"], "train 4/4 parts)"),
        (["runs", "birds-1", "--wait"], "birds-1: succeeded"),
        (["models"], "birds"),
        (["models", "birds"], "promoted"),
        (["retrain", "birds"], "birds-2"),
        (["compare", "birds"], "'mass' is missing"),
        (["delete", "birds", "2", "--reason", "old"], "version 2 is deleted"),
        (["promote", "birds", "2"], "version 2 is live"),
        (["promote", "birds", "2", "--alias", "canary"], "version 2 is canary"),
        (["rollback", "birds"], "version 2 is live again"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_the_other_commands(
    millrace: Millrace, arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    millrace.uploads.append(({}, b""))
    assert main([*arguments, "--endpoint", millrace.url]) == 0
    assert expected in capsys.readouterr().out
    assert main([*arguments, "--endpoint", millrace.url, "--json"]) == 0
    assert isinstance(answer(capsys), dict)


def test_an_unknown_model_is_a_failure(millrace: Millrace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "cats", "--json", "--endpoint", millrace.url]) == 1
    assert answer(capsys) == {"error": {"code": "model-unknown", "message": "There is no such model."}}


def test_nobody_at_the_endpoint_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--endpoint", "http://127.0.0.1:9"]) == 1
    assert "No answer from http://127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["train"],
        ["train", "absent.csv"],
        ["predict", "birds"],
        ["promote", "birds", "two"],
        ["runs", "--stack", "a", "--endpoint", "http://b"],
        ["runs", "--endpoint", "localhost:4566"],
        ["runs", "--endpoint", "http://[b"],
        ["runs", "--endpoint", "http://"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: millrace" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "up",
        "down",
        "demo",
        "train",
        "predict",
        "score",
        "runs",
        "models",
        "compare",
        "promote",
        "rollback",
        "delete",
    ],
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"usage: millrace {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("birds.csv", "birds"),
        ("birds.csv.gz", "birds"),
        ("My birds (2026).CSV", "My-birds-2026"),
        ("_x.txt", "x"),
        ("a" * 80 + ".csv", "a" * 63),
    ],
)
def test_a_dataset_is_called_after_its_file(file: str, name: str) -> None:
    assert dataset_name(Path(file)).rstrip("-") == name


def test_a_file_without_a_usable_name_needs_one() -> None:
    with pytest.raises(BadInput, match="No dataset"):
        dataset_name(Path("日本.csv"))


class Flaky(Api):
    """An interface that does not answer the first times it is asked."""

    def __init__(self, failures: int) -> None:
        super().__init__("http://127.0.0.1:9")
        self.failures = failures

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        self.failures -= 1
        if self.failures >= 0:
            raise TransientError("no answer", code="x")
        return {**RUN, "run": "birds-1"}


def test_following_outlives_short_trouble_but_not_long() -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += 10 * seconds

    display = PlainDisplay(Console(err=io.StringIO()))
    (run,) = follow(Flaky(3), ["birds-1"], display, sleep=sleep, clock=lambda: now)
    assert run["state"] == "SUCCEEDED"
    with pytest.raises(TransientError):
        follow(Flaky(1000), ["birds-1"], display, sleep=sleep, clock=lambda: now)


def test_rejects_are_written_as_they_came(
    millrace: Millrace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "fix.csv"
    assert main(["rejects", "birds-1", "--endpoint", millrace.url, "--json", "--output", str(output)]) == 0
    assert answer(capsys)["rejects"] == 2
    assert output.read_bytes() == b"size;name\none\n;b\xe9\n"
    reasons = (tmp_path / "fix.csv.reasons.csv").read_text("utf-8").splitlines()
    assert reasons[1:] == ["3,20,,too few fields: 1 instead of 2", "9,99,size,the target is missing"]
    assert main(["rejects", "birds-1", "--endpoint", millrace.url]) == 0
    assert "too few fields: 1 instead of 2" in capsys.readouterr().out
