"""Files that are appended: each once, all of their rows, and a run that says of which files it is made."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from millrace import keys
from millrace.contracts import Run
from millrace.errors import BadInput
from millrace.registry.register import _lineage
from millrace.runs.progress import read_layout
from tests.fakes import MemoryObjectStore, MemoryTasks
from tests.world import CARS, World

HEAD, *LINES = CARS.decode().splitlines()
HALVES = [LINES[:70], LINES[70:]]


def file_of(lines: list[str], head: str = HEAD) -> bytes:
    return "\n".join([head, *lines]).encode() + b"\n"


class Files(World):
    """A dataset whose spec says that files are appended."""

    def __init__(self, **spec: Any) -> None:
        super().__init__()
        self.ask(**{"on_new_file": "append", **spec})

    def ask(self, **spec: Any) -> None:
        self.data.put(keys.spec("cars"), json.dumps({"budget": "quick"} | spec).encode())

    def run(self, data: bytes, file: str = "cars.csv", *, succeeds: bool = True) -> Run:
        """Take a file as far as the candidates, and end its run."""
        self.tasks = MemoryTasks()
        run_id = self.prepare(data, keys.upload("cars", file))
        self.runs.update(run_id, state="FAILED")
        if succeeds:
            self.runs.update(run_id, state="TRAINING")
            self.succeed(run_id)
        return self.runs.get(run_id)

    def parts(self, run: Run) -> list[dict[str, Any]]:
        assert isinstance(self.artifacts, MemoryObjectStore)
        found: list[dict[str, Any]] = self.artifacts.json(keys.run_parts(run.run_id))["parts"]
        return found

    def rows(self, run: Run) -> list[str]:
        """Return the lines of the run's source, without quotes."""
        layout = read_layout(run.run_id, self.artifacts)
        assert layout.key == keys.source(run.run_id)
        head, *lines = self.artifacts.get(layout.key).decode().replace('"', "").splitlines()
        assert head == HEAD
        return lines


def test_the_rows_of_a_file_are_appended_to_those_before_it() -> None:
    files = Files()
    first = files.run(file_of(HALVES[0]), "a.csv")
    assert (first.rows_read, first.rows_kept) == (70, 70)
    assert read_layout(first.run_id, files.artifacts).key == first.key, "there was nothing before it"
    second = files.run(file_of(HALVES[1]), "b.csv")
    assert files.rows(second) == LINES
    assert (second.rows_read, second.rows_kept, second.rows_rejected) == (120, 120, 0)
    assert any("2 files" in one and "a.csv (70 records), b.csv (50" in one for one in second.warnings)
    third = files.run(file_of(["red,9,7"]), "c.csv")
    assert files.rows(third) == [*LINES, "red,9,7"]
    assert [part["file"] for part in files.parts(third)] == [
        f"s3://data/datasets/cars/{name}.csv" for name in "abc"
    ]
    lineage = _lineage(third, b"", files.artifacts.get(keys.run_parts(third.run_id)))
    assert [part["records"] for part in lineage.parts] == [70, 50, 1]
    assert all(len(part["sha256"]) == 64 and part["file_version"] for part in lineage.parts)


def test_the_same_bytes_are_one_part_whatever_they_are_called() -> None:
    files = Files()
    for name, half in (("a.csv", 0), ("b.csv", 1), ("again.csv", 0), ("b2.csv", 1)):
        run = files.run(file_of(HALVES[half]), name)
    assert files.rows(run) == LINES
    assert len(files.parts(run)) == 2
    assert any("one of them already" in one for one in run.warnings)
    run = files.run(file_of(["red,9,7"]), "c.csv")
    assert files.rows(run) == [*LINES, "red,9,7"], "what came twice has not become a beginning"


def test_of_two_files_that_arrive_at_once_the_next_run_has_both() -> None:
    files = Files()
    files.run(file_of(LINES[:40]), "a.csv")
    one = files.upload(file_of(LINES[40:80]), keys.upload("cars", "b.csv"))
    other = files.upload(file_of(LINES[80:]), keys.upload("cars", "c.csv"))
    for run in (one, other):
        files.fan_out(run.run_id, "profile", f"token-{run.run_id}")
        files.stream.take()  # type: ignore[attr-defined]
    assert files.rows(one) == LINES[:80]
    assert files.rows(other) == [*LINES[:40], *LINES[80:]]
    for run in (one, other):
        files.runs.update(run.run_id, state="TRAINING")
        files.succeed(run.run_id)
    last = files.run(file_of(["red,9,7"]), "d.csv")
    assert sorted(files.rows(last)) == sorted([*LINES, "red,9,7"])


def test_a_file_whose_run_failed_is_no_part_until_it_is_uploaded_again() -> None:
    files = Files()
    files.run(file_of(HALVES[0]), "a.csv")
    files.run(file_of(HALVES[1]), "b.csv", succeeds=False)
    assert files.rows(files.run(file_of(["red,9,7"]), "c.csv")) == [*HALVES[0], "red,9,7"]
    assert files.rows(files.run(file_of(HALVES[1]), "b.csv")) == [*HALVES[0], "red,9,7", *HALVES[1]]


def test_columns_in_another_order_dialect_and_packing_fit() -> None:
    files = Files()
    files.run(file_of(HALVES[0]), "a.csv")
    turned = [";".join(reversed(line.split(","))) for line in HALVES[1]]
    run = files.run(gzip.compress(file_of(turned, "price;doors;colour")), "b.csv.gz")
    assert files.rows(run) == LINES
    assert (run.rows_read, run.rows_rejected) == (120, 0)


def test_other_columns_are_refused_by_name() -> None:
    files = Files()
    files.run(file_of(HALVES[0]), "a.csv")
    run = files.upload(file_of(["red,2,1,x"], "colour,door,price,note"), keys.upload("cars", "odd.csv"))
    with pytest.raises(BadInput, match=r"odd\.csv.*'doors' missing and 'door', 'note' new") as caught:
        files.fan_out(run.run_id, "profile", "token")
    assert caught.value.code == "part-columns"


def test_what_was_rejected_in_a_part_is_counted_and_rejected_with_all_of_them() -> None:
    files = Files(max_reject_share=0.5)
    broken = ["red,2,1,more", "blue", 'green,"2,3', *HALVES[0]]
    first = files.run(file_of(broken), "a.csv")
    second = files.run(file_of(["one,two", *HALVES[1]]), "b.csv")
    assert (first.rows_read, first.rows_kept, first.rows_rejected) == (73, 70, 3)
    assert (second.rows_read, second.rows_kept, second.rows_rejected) == (124, 120, 4)
    assert [(part["records"], part["rejected"]) for part in files.parts(second)] == [(73, 3), (51, 1)]


def test_with_replace_a_file_begins_anew() -> None:
    files = Files()
    files.run(file_of(HALVES[0]), "a.csv")
    files.ask()
    alone = files.run(file_of(HALVES[1]), "b.csv")
    assert alone.rows_read == 50
    files.ask(on_new_file="append")
    assert files.rows(files.run(file_of(["red,9,7"]), "c.csv")) == [*HALVES[1], "red,9,7"]


def test_parts_that_were_written_down_stay_when_the_run_is_looked_at_again() -> None:
    files = Files()
    files.run(file_of(HALVES[0]), "a.csv")
    run = files.run(file_of(HALVES[1]), "b.csv")
    files.run(file_of(["red,9,7"]), "c.csv")
    rows = files.rows(run)
    files.artifacts.delete(keys.layout(run.run_id))
    files.fan_out(run.run_id, "profile", "again")
    assert files.rows(run) == rows
