"""A file that is appended to the one before it, on the deployed stack."""

from __future__ import annotations

import gzip

from tests.platform.stack import Stack
from tests.platform.tables import HEADER, QUICK, rows, table


def test_a_second_file_adds_its_rows_and_the_version_names_both(stack: Stack) -> None:
    spec = QUICK | {"target": "bought", "on_new_file": "append"}
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
