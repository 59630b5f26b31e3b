"""Rules about the files of the project themselves."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.infra.template import ROOT, functions, verb

FORBIDDEN = {
    "a path of somebody's machine": re.compile(r"/(?:root|home|Users)/\w|/work/(?:main|shared)|/tmp/\w+/\w"),
    "a package registry": re.compile(r"py" r"pi\.org|pythonhosted|registry\.npmjs"),
}
LOCK_LINE = re.compile(r"^([a-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
TARGETS = ("setup", "demo", "test", "test-fast", "lint", "build", "size", "up", "down", "invoke", "deploy",
           "destroy", "bench")  # fmt: skip


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in tracked():
        data = path.read_bytes()
        if path == Path(__file__) or b"\0" in data[:8192]:
            continue
        text = data.decode("utf-8", "replace")
        found += [
            f"{path.relative_to(ROOT)}: {what}" for what, rule in FORBIDDEN.items() if rule.search(text)
        ]
    assert not found


@pytest.mark.parametrize("layer", ["core", "columnar", "science", "plotting", "arrays", "onnx"])
def test_a_layer_has_the_versions_that_the_tests_run_with(layer: str) -> None:
    tested = dict(LOCK_LINE.findall((ROOT / "locks" / "main.txt").read_text("utf-8")))
    shipped = dict(LOCK_LINE.findall((ROOT / "locks" / f"layer-{layer}.txt").read_text("utf-8")))
    assert shipped
    assert {name: tested.get(name) for name in shipped} == shipped


@pytest.mark.parametrize("lock", sorted(path.name for path in (ROOT / "locks").glob("*.txt")))
def test_every_lock_pins_hashes(lock: str) -> None:
    text = (ROOT / "locks" / lock).read_text("utf-8")
    pins = LOCK_LINE.findall(text)
    assert pins
    assert len(re.findall(r"^[a-z0-9._-]+==[^\n]*\\\n    --hash=sha256:", text, re.MULTILINE)) == len(pins)


@pytest.mark.parametrize("function", sorted(functions()))
def test_every_function_has_an_event(function: str) -> None:
    events = sorted((ROOT / "events").glob(f"{verb(function)}.*.json"))
    assert events, f"events/{verb(function)}.<case>.json is missing"
    for event in events:
        assert isinstance(json.loads(event.read_text("utf-8")), dict), event.name


def test_every_event_belongs_to_a_function() -> None:
    verbs = {verb(function) for function in functions()}
    assert {path.name.split(".")[0] for path in (ROOT / "events").glob("*.json")} <= verbs


@pytest.mark.parametrize("target", TARGETS)
def test_make_has_the_target_with_a_help_line(target: str) -> None:
    assert re.search(rf"^{target}:.*## \S", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "functions").glob("*/app.py")), ids=lambda path: path.parent.name
)
def test_a_handler_is_a_sentence(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 60
