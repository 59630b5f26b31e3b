"""The page of limits says what the code and the template do."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from millrace.csvfile import HEAD_BYTES, MAX_RECORD_BYTES
from millrace.csvfile.records import MAX_OPEN_QUOTES
from millrace.runs.fan_out import MAX_CHUNKS, MAX_COLUMNS
from tests.infra.template import ROOT, template

PAGE = (ROOT / "docs" / "reference" / "limits.md").read_text("utf-8")
ROWS = {
    cells[0]: cells[1:]
    for line in PAGE.splitlines()
    if line.startswith("| ") and (cells := [cell.strip() for cell in line.strip("|").split(" | ")])
}


def parameter(name: str) -> dict[str, Any]:
    found: dict[str, Any] = template()["Parameters"][name]
    return found


LIMITS = {
    "File, as uploaded": [parameter("MaxFileBytes")["Default"], parameter("MaxFileBytes")["MaxValue"]],
    "Header": [HEAD_BYTES],
    "Columns": [MAX_COLUMNS],
    "Row": [MAX_RECORD_BYTES],
    "Quotes never closed": [MAX_OPEN_QUOTES],
    "Chunks": [MAX_CHUNKS, parameter("MaxChunkBytes")["Default"]],
    "Rejected records": [parameter("MaxRejectShare")["Default"]],
}


@pytest.mark.parametrize("what", LIMITS)
def test_the_page_states_the_limit_that_is_enforced(what: str) -> None:
    numbers = [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", ROWS[what][0])]
    assert numbers == LIMITS[what]


def test_the_page_states_from_where_on_files_are_looked_through_in_parallel() -> None:
    states = json.loads((ROOT / "statemachines" / "run.asl.json").read_text("utf-8"))["States"]
    (large,) = states["Size"]["Choices"]
    assert f"{large['And'][-1]['NumericGreaterThan']:,} bytes" in PAGE


def test_every_code_on_the_page_is_raised_and_is_in_the_list_of_errors() -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "lib").rglob("*.py"))
    errors = (ROOT / "docs" / "reference" / "errors.md").read_text("utf-8")
    codes = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", PAGE))
    assert {"file-too-large", "record-too-long", "columns-too-many", "chunks-too-many"} <= codes
    for code in codes:
        assert f'"{code}"' in sources, code
        assert f"`{code}`" in errors, code
