"""A run whose fits do not end within one invocation goes on in the next ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from sklearn.datasets import load_digits

from millrace import keys
from millrace.plan import read
from tests.platform.stack import Stack
from tests.platform.tables import table


@contextmanager
def train_seconds(stack: Stack, seconds: int) -> Iterator[None]:
    """Let every invocation of train and select end after so many seconds, where it can."""
    client, resources = stack.platform.client("lambda"), stack.platform.resources()
    names = [resources[name] for name in ("TrainFunction", "SelectFunction")]
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
    with train_seconds(stack, 2):
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
