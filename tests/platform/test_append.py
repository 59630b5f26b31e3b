"""A file that is appended to the one before it, of which the live version learns the rows, on the deployed
stack."""

from __future__ import annotations

import gzip

from tests.platform.stack import Stack
from tests.platform.tables import HEADER, QUICK, rows, table


def test_a_second_file_adds_its_rows_and_updates_the_version_of_the_first(stack: Stack) -> None:
    spec = QUICK | {"target": "bought", "on_new_file": "update"}
    first = stack.wait(stack.upload("months", table(HEADER, rows(90)), file="may.csv", spec=spec))
    assert first["state"] == "SUCCEEDED", first["error"]
    more = gzip.compress(table(HEADER, rows(60, seed=9)), mtime=0)
    second = stack.wait(stack.upload("months", more, file="june.csv.gz"))
    assert second["state"] == "SUCCEEDED", second["error"]
    assert (first["rows_read"], second["rows_read"]) == (90, 150)
    assert second["rows_read"] == second["rows_kept"] + second["rows_rejected"]
    lineage = stack.get(f"/models/months/versions/{second['version']}").json["lineage"]
    named = [(part["file"].rpartition("/")[2], part["records"]) for part in lineage["parts"]]
    assert named == [("may.csv", 90), ("june.csv.gz", 60)]
    assert lineage["updated"] == {"version": 1, "rows": 48, "updates": 1, "searched": 1}, second["warnings"]
    # One invocation learned the rows, in the place of a search.
    assert second["cost"]["functions"]["train"]["invocations"] == 1
