"""Where the local platform finds its tools, and what is fixed about it."""

from __future__ import annotations

import os
from pathlib import Path

from millrace.errors import Misconfigured

__all__ = [
    "ACCOUNT",
    "CREDENTIALS",
    "REGION",
    "ministack_python",
    "project_root",
    "runtime_python",
    "sam",
]

REGION = "us-east-1"
ACCOUNT = "000000000000"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
"""What the embedded AWS takes for the account itself."""


def project_root() -> Path:
    """Return the folder that holds ``template.yaml``: the nearest above here, else the working directory."""
    for folder in (Path.cwd(), *Path.cwd().parents, *Path(__file__).resolve().parents):
        if (folder / "template.yaml").is_file() or (folder / "locks" / "ministack.txt").is_file():
            return folder
    return Path.cwd()


def ministack_python() -> Path:
    """Return the interpreter of MiniStack's environment; ``MILLRACE_MINISTACK_PYTHON`` says another."""
    return _tool("MILLRACE_MINISTACK_PYTHON", ".tools/ministack/bin/python")


def runtime_python() -> Path:
    """Return the interpreter that functions run in; ``MILLRACE_RUNTIME_PYTHON`` says another."""
    return _tool("MILLRACE_RUNTIME_PYTHON", ".tools/runtime/bin/python")


def sam() -> Path:
    """Return the SAM command; ``MILLRACE_SAM`` says another."""
    return _tool("MILLRACE_SAM", ".tools/sam/bin/sam")


def _tool(variable: str, place: str) -> Path:
    said = os.environ.get(variable)
    path = Path(said) if said else project_root() / place
    if not path.exists():
        raise Misconfigured(
            f"A tool of the local platform is not installed: {path}",
            code="tool-missing",
            remedy=f"Run `make setup`, or set {variable}.",
        )
    return path
