"""What a function does not import before its first event: a cold start pays for all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("aws_xray_sdk", "boto3", "numpy", "pandas", "pyarrow", "pydantic", "scipy", "sklearn")


@pytest.mark.parametrize(
    "function",
    [
        "ingest",
        "fan_out",
        "preprocess",
        "decide",
        "collect",
        "finish",
        "chunk_failed",
        "reconcile",
        "retrain",
    ],
)
def test_nothing_heavy_is_imported_with_the_function(function: str) -> None:
    code = f"import app, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "functions" / function,
        env={"PYTHONPATH": str(ROOT / "lib")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
