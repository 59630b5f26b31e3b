"""The shared real tables: their columns and tasks are understood without a spec but for the target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millrace.contracts import Spec
from tests.tables import CsvTable

TABLES = [
    "titanic",
    "penguins_raw",
    "breast_cancer",
    "digits",
    "iris",
    "diabetes",
    "attrition",
    "mlc_churn",
    "lending_club",
    "chile_vote",
    "insteval",
    "bikeshare",
    "restaurants",
    "birdstrikes",
    "deliveries",
    "hitters",
    "khan",
    "email",
    "saratoga",
    "tate_text",
    "fine_foods",
]

TASK_DEVIATIONS = {"insteval": "multiclass"}
"""Ratings from 1 to 5 may be classes or numbers; the manifest says numbers, and a spec may."""

FEATURES_LEFT_OUT = {
    "titanic": {"Ticket"},
    "penguins_raw": {"Region", "Stage"},
    "digits": {"pixel_0_0", "pixel_4_0", "pixel_4_7"},
    "fine_foods": {"product"},
}
"""Constant columns, and names of single rows that the manifest does not count as identifiers."""


@pytest.mark.parametrize("name", TABLES)
def test_task_and_roles_of_a_real_table(shared_data: Path, name: str) -> None:
    manifest: dict[str, Any] = json.loads((shared_data / "manifest.json").read_text())
    entry = next(entry for entry in manifest["datasets"] if entry["name"] == name)
    data = (shared_data / "ml" / name / entry["files"]["train"]).read_bytes()
    table = CsvTable.of(data)
    schema = table.schema(Spec(target=entry["target"]))
    assert table.profile.rows_read == entry["rows_train"]
    assert table.rejects == []
    assert schema.task == TASK_DEVIATIONS.get(name, entry["task"])
    left_out = {column.name for column in schema.columns if column.role not in ("feature", "target")}
    known = set(entry["id_columns"]) | FEATURES_LEFT_OUT.get(name, set())
    assert left_out <= known
