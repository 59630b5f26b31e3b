"""The arrows between the rooms: who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.template import ROOT

PACKAGE = ROOT / "lib" / "millrace"

OPEN = frozenset({"errors", "contracts", "values", "keys"})
"""Single modules that every room may import; they import only each other."""

ARROWS: dict[str, frozenset[str]] = {
    "csvfile": frozenset(),
    # Profiling and converting read a chunk's cells in columns.
    "profile": frozenset({"csvfile"}),
    "plan": frozenset(),
    "fanout": frozenset(),
    "features": frozenset({"csvfile", "profile"}),
    "scoring": frozenset({"plan"}),
    "compiler": frozenset({"plan", "features", "scoring"}),
    "training": frozenset({"profile", "features", "compiler", "scoring", "plan"}),
    # The gate lets challenger and champion answer the same held-out rows, and scores both.
    "registry": frozenset({"plan", "features", "scoring", "training"}),
    "report": frozenset({"profile", "plan"}),
    # Scoring a file is a run as well: it pins a version, and evaluates its plan. So is training on rows that
    # a stream brought.
    "runs": frozenset({"csvfile", "profile", "features", "fanout", "plan", "scoring", "registry", "streams"}),
    # Adapters implement ports, which live in the room that needs them.
    "streams": frozenset({"fanout", "plan"}),
    "aws": frozenset({"fanout", "runs", "registry", "streams"}),
    "edge": frozenset(
        {
            *("csvfile", "profile", "plan", "fanout", "features", "scoring", "compiler", "training"),
            *("registry", "report", "runs", "streams", "aws"),
        }
    ),
    "local": frozenset({"edge", "aws"}),
    # The command line checks a spec and reads a file's rows by the very rules of ingest and training, and it
    # exports and registers ONNX models by itself: no function carries what that needs.
    "cli": frozenset({"edge", "local", "aws", "runs", "csvfile", "plan", "features", "compiler", "registry"}),
}
"""Room -> the rooms that it may import, besides itself and ``OPEN``."""

AWS_SDK = frozenset({"boto3", "botocore"})
START_UP = {
    "plan": frozenset({"dataclasses", "typing", "contextlib", "inspect", "importlib", "logging"}),
    "scoring/rows": frozenset({"dataclasses", "typing", "numpy", "inspect", "logging"}),
}
"""What ``predict`` must not import before its first answer (outside ``if TYPE_CHECKING``)."""


def modules() -> Iterator[Path]:
    yield from sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(tree: ast.AST, *, at_run_time: bool = False) -> Iterator[str]:
    """Yield the full names that a module imports, inside functions too."""
    for node in ast.iter_child_nodes(tree):
        if at_run_time and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports hide the arrows"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node, at_run_time=at_run_time)


def rooms_of(path: Path) -> set[str]:
    parts = [name.split(".") for name in imports(ast.parse(path.read_text("utf-8")))]
    return {part[1] for part in parts if part[0] == "millrace" and len(part) > 1}


@pytest.mark.parametrize("path", list(modules()), ids=name_of)
def test_a_room_imports_only_along_the_arrows(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        allowed: frozenset[str] = frozenset()
    elif room in OPEN:
        allowed = OPEN
    else:
        assert room in ARROWS, f"{room} is a new room: give it its arrows here"
        allowed = ARROWS[room] | OPEN | {room}
    names = {
        name for name in rooms_of(path) if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()
    }
    assert names <= allowed, f"{name_of(path)} may not import {sorted(names - allowed)}"


@pytest.mark.parametrize("path", list(modules()), ids=name_of)
def test_only_the_aws_room_imports_the_sdk(path: Path) -> None:
    used = {name.split(".")[0] for name in imports(ast.parse(path.read_text("utf-8")))} & AWS_SDK
    assert not used or path.relative_to(PACKAGE).parts[0] == "aws", f"{name_of(path)} imports {sorted(used)}"


def test_a_handler_imports_the_edge_and_its_rooms_only() -> None:
    for path in sorted((ROOT / "functions").glob("*/app.py")):
        used = {name.split(".")[0] for name in imports(ast.parse(path.read_text("utf-8")))}
        assert not used & AWS_SDK, f"{path.parent.name} imports {sorted(used & AWS_SDK)}"
        assert not rooms_of(path) & {"local", "cli"}, f"{path.parent.name} imports what never runs on Lambda"


@pytest.mark.parametrize("place", sorted(START_UP))
def test_what_predict_imports_stays_out_of_the_heavy_parts(place: str) -> None:
    paths = sorted((PACKAGE / place).rglob("*.py")) if (PACKAGE / place).is_dir() else [PACKAGE / place]
    assert paths
    for path in paths:
        tree = ast.parse(path.read_text("utf-8"))
        used = {name.split(".")[0] for name in imports(tree, at_run_time=True)}
        assert not used & START_UP[place], f"{name_of(path)} imports {sorted(used & START_UP[place])}"


def test_nothing_reads_a_pickle() -> None:
    for path in [*modules(), *sorted((ROOT / "functions").rglob("*.py"))]:
        used = {name.split(".")[0] for name in imports(ast.parse(path.read_text("utf-8")))}
        assert not used & {"pickle", "joblib", "cloudpickle", "dill"}, f"{path} imports {sorted(used)}"
