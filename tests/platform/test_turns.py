"""A run whose fits do not end within one invocation goes on in the next ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from sklearn.datasets import load_digits

from millrace import keys
from millrace.features.candidates import CANDIDATES
from millrace.plan import read
from millrace.training.apart import KINDS
from tests.infra.template import ROOT
from tests.platform.stack import Stack
from tests.platform.tables import table


@contextmanager
def train_seconds(stack: Stack, seconds: float, *functions: str) -> Iterator[None]:
    """Let every invocation of these functions end after so many seconds, where it can."""
    client, resources = stack.platform.client("lambda"), stack.platform.resources()
    names = [resources[name] for name in functions]
    before = {name: client.get_function_configuration(FunctionName=name)["Environment"] for name in names}
    try:
        for name in names:
            variables = before[name]["Variables"] | {"MILLRACE_TRAIN_SECONDS": str(seconds)}
            client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
        yield
    finally:
        for name in names:
            client.update_function_configuration(FunctionName=name, Environment=before[name])


def test_a_run_that_is_too_long_for_an_invocation_goes_on_in_others_and_succeeds(stack: Stack) -> None:
    pixels, labels = load_digits(return_X_y=True)
    header = [*(f"pixel_{number}" for number in range(64)), "digit"]
    rows = list(zip(pixels, labels, strict=True))[:900]
    body = [[*(f"{value:g}" for value in row), str(digit)] for row, digit in rows]
    spec = {"target": "digit", "task": "multiclass", "budget": "quick"}
    with train_seconds(stack, 0.8, "TrainFunction", "SelectFunction"):
        run = stack.wait(stack.upload("digits", table(header, body), spec=spec))
    assert run["state"] == "SUCCEEDED", run["error"]
    record = stack.runs.get(run["run"], full=True)
    invocations = {used.function: used.invocations for used in record.usage}
    assert invocations["train"] > record.progress["train"].total
    stored = stack.keys(keys.run(run["run"], "turns/"))
    assert any("/train-" in key for key in stored)
    evaluation = json.loads(stack.read(keys.evaluation(run["run"])))
    assert {candidate["state"] for candidate in evaluation["candidates"]} <= {"ok", "stopped"}
    assert evaluation["metrics"]["accuracy"] > 0.9
    assert "struck" not in read(stack.read(keys.run_plan(run["run"]))).header["about"]


def test_members_that_are_too_long_for_one_invocation_are_fitted_side_by_side(stack: Stack) -> None:
    lines = (ROOT / "examples" / "diamonds" / "diamonds.csv").read_bytes().splitlines(keepends=True)[:2001]
    with train_seconds(stack, 0.1, "SelectFunction"):
        run = stack.wait(stack.upload("gems", b"".join(lines), spec={"target": "price"}))
    assert run["state"] == "SUCCEEDED", run["error"]
    record = stack.runs.get(run["run"], full=True)
    evaluation = json.loads(stack.read(keys.evaluation(run["run"])))
    members = [one["name"] for one in evaluation["candidates"] if one["weight"]]
    apart = [name for name in members if CANDIDATES[name].kind in KINDS]
    assert len(apart) > 1
    progress = record.progress["train"]
    assert progress.complete
    units = range(progress.total - len(apart), progress.total)
    stored = {key.rpartition("/")[2] for key in stack.keys(keys.run(run["run"], "turns/"))}
    assert stored == {f"train-{unit:03d}.npz" for unit in units}
    assert {one.function: one.invocations for one in record.usage}["select"] == 2
    assert "struck" not in read(stack.read(keys.run_plan(run["run"]))).header["about"]
