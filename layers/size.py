"""Print the unzipped size of each function with its layers; fail over the limits.

Lambda refuses a function whose code and layers unzip to more than 250 MB; 245 leaves room for the next
version of a library. ``predict`` has no layer and starts with every request that finds no sandbox: 2 MB. With
the one that it may have for ONNX models it is like any other.

Megabytes are 2**20 bytes, as Lambda counts them.

Run by ``make size``, after ``sam build``.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
LIMIT_MB = 245.0
LIMITS_MB = {"PredictFunction": 2.0}


def main() -> int:
    """Print one line a function; return 1 when one is over its limit."""
    built = ROOT / ".aws-sam" / "build" / "template.yaml"
    resources = yaml.safe_load(built.read_text("utf-8"))["Resources"]
    layers = {
        name: unzipped_bytes(built.parent / resource["Properties"]["ContentUri"])
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Serverless::LayerVersion"
    }
    over = False
    print(f"{'function':<26}{'code':>9}{'layers':>9}{'together':>10}{'limit':>8}  MB, unzipped")
    for name, resource in sorted(resources.items()):
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        properties = resource["Properties"]
        code = unzipped_bytes(built.parent / properties["CodeUri"]) / 2**20
        for shown, attached, limit in variants(name, properties.get("Layers", [])):
            layered = sum(layers[item["Ref"]] for item in attached) / 2**20
            verdict = "" if code + layered <= limit else "  OVER THE LIMIT"
            over = over or bool(verdict)
            print(f"{shown:<26}{code:>9.2f}{layered:>9.1f}{code + layered:>10.1f}{limit:>8.0f}{verdict}")
    return int(over)


def variants(name: str, attached: Any) -> Iterator[tuple[str, list[dict[str, str]], float]]:
    """Yield what to show, the layers and the limit: twice where a condition of the template decides."""
    limit = LIMITS_MB.get(name, LIMIT_MB)
    if isinstance(attached, list):
        yield name, attached, limit
    else:
        condition, then, otherwise = attached["Fn::If"]
        yield name, otherwise if isinstance(otherwise, list) else [], limit
        yield f"{name}, {condition}", then, LIMIT_MB


def unzipped_bytes(path: Path) -> int:
    """Return the size of an archive's files, or of a folder's."""
    if path.is_file():
        with zipfile.ZipFile(path) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


if __name__ == "__main__":
    sys.exit(main())
