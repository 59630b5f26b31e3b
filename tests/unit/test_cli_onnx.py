"""`millrace export` and `millrace register`, over a bucket in memory."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from millrace import keys, plan
from millrace.cli import onnx as commands
from millrace.cli.app import build_parser, run
from millrace.cli.console import Console
from millrace.compiler import onnx as exchange
from millrace.contracts import Column, Schema, encode
from millrace.errors import BadInput, NotFound, Unprocessable
from millrace.features.blocks import write_block
from millrace.registry.registry import Registry
from millrace.registry.versions import Version
from tests import plans
from tests.fakes import MemoryObjectStore

TORCH = Path(__file__).resolve().parents[1] / "fixtures" / "torch"
RUN = "demo-1"


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(out: io.StringIO) -> Console:
    return Console(as_json=True, out=out, err=io.StringIO())


def registered(store: MemoryObjectStore, data: bytes, *, promote: bool = True) -> Version:
    registry = Registry(store)
    draft = Version(
        "demo",
        0,
        RUN,
        "",
        "binary",
        "bought",
        "roc_auc",
        "",
        0,
        classes=("no", "yes"),
        metrics={"roc_auc": 0.9},
    )
    version = registry.register(draft, data)
    if promote:
        registry.promote("demo", version.version, by="test", why="")
    return version


@pytest.fixture
def store() -> MemoryObjectStore:
    """A bucket with one live version, and its run's held-out rows."""
    store = MemoryObjectStore()
    registered(store, plans.binary())
    schema = Schema(
        (
            Column("age", 0, "number", "feature"),
            Column("city", 1, "category", "feature", categories=("Bern", "Köln")),
            Column("bought", 2, "category", "target"),
        ),
        "bought",
        "binary",
        "roc_auc",
        ("no", "yes"),
    )
    columns = {
        "age": np.array([1.0, np.nan, 70.0]),
        "city": np.array(["Köln", None, "Bern"], dtype=object),
    }
    block = write_block(schema, columns, np.array([0, 1, 0], dtype=np.int32), np.arange(3))
    store.put(keys.schema(RUN), json.dumps(encode(schema)).encode())
    store.put(keys.held_out(RUN), block)
    return store


def test_a_version_is_exported_and_compared_on_held_out_rows(
    store: MemoryObjectStore, console: Console, out: io.StringIO, tmp_path: Path
) -> None:
    output = tmp_path / "demo.onnx"
    assert commands.export(store, console, "demo", None, output, None) == 0
    said = json.loads(out.getvalue())
    certificate = json.loads((tmp_path / "demo.certificate.json").read_text("utf-8"))
    assert {name: said[name] for name in certificate} == certificate
    assert certificate["rows"] == 3 and certificate["passed"] is True
    assert certificate["max_difference"] <= 1e-12 and certificate["label_flips"] == 0
    assert certificate["compared_on"] == f"held-out rows of run {RUN}"
    about = {p.key: p.value for p in onnx.load_model(output).metadata_props}
    assert about["millrace.version"] == "1"
    assert json.loads(about["millrace.certificate"])["rows"] == 3
    assert about["millrace.plan_sha256"] == certificate["plan_sha256"]


def test_a_version_is_compared_on_the_rows_of_a_file(
    store: MemoryObjectStore, console: Console, out: io.StringIO, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("city,age,more\nKöln,3,x\n,,\nBern,1.5,y\nRom,NA,z\n", "utf-8")
    assert commands.export(store, console, "demo", 1, tmp_path / "demo.onnx", rows) == 0
    assert json.loads(out.getvalue())["compared_on"] == "rows of rows.csv"
    assert json.loads(out.getvalue())["rows"] == 4
    rows.write_text("city,age\nKöln,3\nBern,old\n", "utf-8")
    with pytest.raises(Unprocessable, match="not a finite number") as error:
        commands.export(store, console, "demo", 1, tmp_path / "demo.onnx", rows)
    assert error.value.where == "rows.csv, line 3, field 'age'"


def test_without_rows_to_compare_on_nothing_is_written(console: Console, tmp_path: Path) -> None:
    store = MemoryObjectStore()
    registered(store, plans.binary(), promote=False)
    with pytest.raises(NotFound, match="no version of it is live"):
        commands.export(store, console, "demo", None, tmp_path / "demo.onnx", None)
    with pytest.raises(BadInput, match="no held-out rows") as error:
        commands.export(store, console, "demo", 1, tmp_path / "demo.onnx", None)
    assert error.value.code == "held-out-absent"
    assert not list(tmp_path.iterdir())


def test_a_model_that_differs_is_not_written(
    store: MemoryObjectStore, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = exchange.export(plans.binary(intercept=0.5))
    monkeypatch.setattr(exchange, "export", lambda data, metadata=None: other)
    with pytest.raises(BadInput, match="differs from the plan by 0") as error:
        commands.export(store, console, "demo", None, tmp_path / "demo.onnx", None)
    assert error.value.code == "onnx-differs"
    assert not list(tmp_path.iterdir())


def _register(store: MemoryObjectStore, console: Console, name: str, *, promote: bool = False) -> None:
    file, signature = TORCH / "penguins.onnx", TORCH / "signature.json"
    assert commands.register(store, console, name, file, signature, promote=promote) == 0


def test_a_model_from_elsewhere_becomes_a_version_and_waits(
    store: MemoryObjectStore, console: Console, out: io.StringIO
) -> None:
    _register(store, console, "demo")
    assert json.loads(out.getvalue()) | {"plan_bytes": 0} == {
        "model": "demo",
        "version": 2,
        "live": False,
        "plan_bytes": 0,
    }
    registry = Registry(store)
    version = registry.version("demo", 2)
    assert version.chosen == "onnx" and version.task == "multiclass" and version.target == "Species"
    assert [field["type"] for field in version.signature] == ["number"] * 4
    alias = registry.live("demo")
    assert alias is not None and alias.version == 1
    held = store.get(keys.version("demo", 2, "model.plan"))
    assert plan.read(held).header["estimator"]["kind"] == "onnx"


def test_the_same_model_is_registered_once_and_promoted_when_asked(
    store: MemoryObjectStore, console: Console
) -> None:
    _register(store, console, "penguins")
    _register(store, console, "penguins", promote=True)
    registry = Registry(store)
    assert registry.numbers("penguins") == [1]
    alias = registry.live("penguins")
    assert alias is not None and alias.version == 1 and alias.history[0].by == "millrace register"


def test_a_name_or_a_signature_that_cannot_be_is_refused(
    store: MemoryObjectStore, console: Console, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="cannot be a model's name"):
        _register(store, console, "a/b")
    broken = tmp_path / "signature.json"
    for text in ("{", '{"task": NaN}'):
        broken.write_text(text, "utf-8")
        with pytest.raises(BadInput, match="not JSON"):
            commands.register(store, console, "m", TORCH / "penguins.onnx", broken, promote=False)


def test_the_commands_parse_and_say_which_deployment_they_miss(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parse: Any = build_parser().parse_args
    assert parse(["export", "demo", "--output", "x.onnx", "--version", "3"]).version == 3
    monkeypatch.setattr("millrace.local.platform.current", lambda: None)
    assert run(["export", "demo", "--output", str(tmp_path / "x.onnx")]) == 1
    assert "No local platform is running" in capsys.readouterr().err
