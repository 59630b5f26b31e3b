"""Rows for a dataset on the stream, the whole way: collected once each, then a run and a new version."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from millrace import keys
from tests.infra.template import ROOT
from tests.platform.stack import WAIT_S, Stack
from tests.world import CARS

DATASET = "traded-cars"
TICK = json.loads((ROOT / "events" / "retrain.schedule.json").read_text("utf-8"))


class Dataset:
    """The dataset as a producer of rows and a reader of the bucket see it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._kinesis = stack.platform.client("kinesis")

    def put(self, *records: tuple[str, Any]) -> None:
        """Put records on ``rows``: a partition key, and JSON values or a text."""
        answer = self._kinesis.put_records(
            StreamName=self.stack.outputs["RowsStreamName"],
            Records=[
                {"Data": data if isinstance(data, str) else json.dumps(data), "PartitionKey": key}
                for key, data in records
            ],
        )
        assert answer["FailedRecordCount"] == 0

    def lines(self, prefix: str) -> list[dict[str, Any]]:
        """Return all lines of the objects below a prefix of the data bucket."""
        listed = self.stack.s3.list_objects_v2(Bucket=self.stack.data_bucket, Prefix=prefix)
        keys_found = [item["Key"] for item in listed.get("Contents", [])]
        texts = [self.stack.fetch(f"s3://{self.stack.data_bucket}/{key}") for key in keys_found]
        return [json.loads(line) for text in texts for line in text.splitlines()]

    def wait_for_records(self, records: int, rejects: int) -> None:
        deadline = time.monotonic() + WAIT_S
        while (
            len(self.lines(keys.collected_batch(DATASET, ""))) < records
            or len(self.lines(keys.collected_rejects(DATASET, ""))) < rejects
        ):
            assert time.monotonic() < deadline, "not all records arrived"
            time.sleep(0.3)

    def retrain(self, number: int) -> str:
        """Wait until the generation's file has its run, whoever begins it; return the run."""
        deadline = time.monotonic() + WAIT_S
        file = f"s3://{self.stack.data_bucket}/{keys.generation_file(DATASET, number)}"
        while True:
            answer = self.stack.platform.invoke("retrain", TICK)
            assert not answer.error, f"{answer.payload}\n{answer.log}"
            for run in self.stack.get("/runs?limit=100").json["runs"]:
                if run["file"] == file:
                    assert run["source"] == "stream"
                    return str(run["run"])
            assert time.monotonic() < deadline, answer.log
            time.sleep(0.3)


def car(number: int, **changes: Any) -> dict[str, Any]:
    return {"colour": "red", "doors": 2 + number % 4, "price": 1000 + number, **changes}


@pytest.fixture(scope="module")
def dataset(stack: Stack) -> Dataset:
    spec = {"budget": "quick", "target": "price", "retrain_rows": 25}
    run = stack.wait(stack.upload(DATASET, CARS, spec=spec))
    assert (run["state"], run["version"], run["source"]) == ("SUCCEEDED", 1, "upload"), run["error"]
    return Dataset(stack)


def test_new_rows_start_a_run_that_gives_a_new_version(stack: Stack, dataset: Dataset) -> None:
    records: list[tuple[str, Any]] = [
        (f"p{number}", {"dataset": DATASET, "id": f"car-{number:02d}", "row": car(number)})
        for number in range(20)
    ]
    records.append((f"dataset/{DATASET}/lot-1", "colour,price,doors\ngreen,1500,4\nblue,,3\n"))  # no target
    wrong = {"dataset": DATASET, "id": "car-99", "row": car(9, doors="many")}
    dataset.put(*records, ("p", wrong), ("p", {"dataset": "nobody", "row": {}}))
    dataset.wait_for_records(20, 2)
    dataset.put(*reversed(records[:20]))  # what producers repeat, in another batch
    dataset.wait_for_records(20, 22)
    rejects = dataset.lines(keys.collected_rejects(DATASET, ""))
    codes = sorted(reject["error"]["code"] for reject in rejects)
    assert codes == ["record-repeated"] * 20 + ["target-missing", "value-type"]
    (nobody,) = dataset.lines(keys.collected_rejects("nobody", ""))
    assert nobody["error"]["code"] == "dataset-untrained"
    assert DATASET not in stack.platform.invoke("retrain", TICK).payload["generations"], "too few rows"

    corrected = "colour,price,doors\ngreen,1500,4\nblue,1400,3\n"
    dataset.put(
        (f"dataset/{DATASET}/lot-1", corrected),
        ("p", {"dataset": DATASET, "id": "car-99", "rows": [car(9, doors=3), car(10), car(11)]}),
    )
    dataset.wait_for_records(22, 22)
    run = stack.wait(dataset.retrain(1))
    assert (run["state"], run["version"], run["rows_read"]) == ("SUCCEEDED", 2, 145), run["error"]
    text = stack.fetch(run["file"]).decode()
    assert text.splitlines()[0] == '"colour","doors","price"'
    assert text.splitlines()[121] == '"red","2","1000"'
    assert text.splitlines()[-2:] == ['"green","4","1500"', '"blue","3","1400"']
    answer = stack.platform.invoke("retrain", TICK)
    assert DATASET not in answer.payload["generations"], "nothing is counted twice"


def test_the_next_rows_are_added_to_all_before(stack: Stack, dataset: Dataset) -> None:
    rows = [car(number) for number in range(25)]
    dataset.put(("p", {"dataset": DATASET, "id": "a-lot", "rows": rows}))
    dataset.wait_for_records(23, 22)
    run = stack.wait(dataset.retrain(2))
    assert (run["state"], run["rows_read"]) == ("SUCCEEDED", 170), run["error"]
    lines = stack.fetch(run["file"]).decode().splitlines()
    assert lines[121] == '"red","2","1000"', "a-lot comes before car-00"
    assert len(lines) == 171
    files = stack.s3.list_objects_v2(Bucket=stack.data_bucket, Prefix=keys.generation_files(DATASET))[
        "Contents"
    ]
    assert [item["Key"] for item in files] == [keys.generation_file(DATASET, 2)]


def test_what_is_there_is_trained_again_on_demand(stack: Stack, dataset: Dataset) -> None:
    newest = stack.get(f"/models/{DATASET}").json["versions"][0]
    asked = stack.post(f"/datasets/{DATASET}/retrain", {})
    assert asked.status == 200, asked.text
    run = stack.wait(asked.json["run"])
    assert (run["state"], run["version"]) == ("SUCCEEDED", newest["version"] + 1), run["error"]
    assert run["metrics"] == newest["metrics"]
    gate = stack.get(f"/models/{DATASET}/versions/{run['version']}").json["gate"]
    assert gate["promoted"] is run["promoted"], gate
    assert gate["against"] is not None, gate
