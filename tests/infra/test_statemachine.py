"""The definition of a run: what is retried, what is caught, what may take how long; and no data in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from millrace.edge.settings import MAP_LANES
from tests.infra.template import template

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "statemachines" / "run.asl.json").read_text("utf-8")
DEFINITION: dict[str, Any] = json.loads(TEXT)
STATES: dict[str, dict[str, Any]] = DEFINITION["States"]
TRAIN: dict[str, dict[str, Any]] = STATES["Train"]["ItemProcessor"]["States"]
TASKS = {name: state for name, state in (STATES | TRAIN).items() if state["Type"] == "Task"}
TRANSIENT = {
    "TransientError",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
}


def follow(start: str) -> list[str]:
    """Return the states from ``start`` to the end when nothing fails."""
    names = [start]
    while "Next" in STATES[names[-1]]:
        names.append(STATES[names[-1]]["Next"])
    return names


def substitutions() -> dict[str, Any]:
    properties = template()["Resources"]["RunStateMachine"]["Properties"]
    result: dict[str, Any] = properties["DefinitionSubstitutions"]
    return result


def test_a_large_file_is_looked_through_in_parallel_first() -> None:
    start = STATES[DEFINITION["StartAt"]]
    (large,) = start["Choices"]
    assert large["And"][-1]["Variable"] == "$.size_bytes"
    assert large["Next"] == "FanOutScan"
    assert start["Default"] == STATES["FanOutScan"]["Next"] == "Kind"


def test_a_run_goes_on_with_what_it_does_with_its_file() -> None:
    (scores,) = STATES["Kind"]["Choices"]
    assert scores["And"][-1] == {"Variable": "$.kind", "StringEquals": "score"}
    assert scores["Next"] == "FanOutScore"
    assert STATES["Kind"]["Default"] == "FanOutProfile"


def test_a_run_that_scores_walks_through_its_stages() -> None:
    assert follow("FanOutScore") == ["FanOutScore", "Assemble", "Finish"]


def test_a_run_that_trains_walks_through_its_stages() -> None:
    assert follow("FanOutProfile") == [
        "FanOutProfile",
        "Decide",
        "FanOutConvert",
        "Collect",
        "Train",
        "MoreFolds",
    ]
    assert follow(STATES["MoreFolds"]["Default"]) == ["AllRows"]
    assert follow(STATES["AllRows"]["Default"]) == ["BeginSelect", "Select", "Selected"]
    assert follow(STATES["Selected"]["Default"]) == ["Report", "Register", "Finish"]
    assert STATES["Finish"]["End"] is True


def test_where_more_folds_are_to_be_trained_it_is_decided_who_goes_on_and_they_are_trained() -> None:
    (more,) = STATES["MoreFolds"]["Choices"]
    assert more == {"Variable": "$.collected.more", "BooleanEquals": True, "Next": "Narrow"}
    assert follow("Narrow") == ["Narrow", "Train", "MoreFolds"]
    assert STATES["Narrow"]["Parameters"]["FunctionName"] == STATES["Collect"]["Parameters"]["FunctionName"]


def test_rounds_over_all_rows_follow_where_training_drew_a_part() -> None:
    (exact,) = STATES["AllRows"]["Choices"]
    assert exact == {"Variable": "$.collected.exact[0]", "IsPresent": True, "Next": "BeginRounds"}
    assert follow("BeginRounds") == ["BeginRounds", "AnotherRound"]
    assert STATES["AnotherRound"]["Default"] == "SumShards"
    assert follow("SumShards") == ["SumShards", "AddRound", "AnotherRound"]
    (done,) = STATES["AnotherRound"]["Choices"]
    assert done == {"Variable": "$.exact.done", "BooleanEquals": True, "Next": "BeginSelect"}
    # What the rounds do not bring, the rows that were drawn have brought already.
    assert {STATES[name]["Catch"][0]["Next"] for name in ("BeginRounds", "SumShards", "AddRound")} == {
        "BeginSelect"
    }


def test_a_unit_that_is_not_done_goes_on_in_the_next_invocation() -> None:
    assert STATES["Train"]["ItemSelector"]["turn"] == STATES["BeginSelect"]["Result"] == {"next": 0}
    members = {"Variable": "$.selected.units[0]", "IsPresent": True, "Next": "Members"}
    loops: list[Any] = [
        (TRAIN, "TrainCandidate", "CandidateDone", [], "CandidateTrained", "turn"),
        (STATES, "Select", "Selected", [members], "Report", "selected"),
    ]
    for states, task, choice, before, after, where in loops:
        assert states[task]["Parameters"]["Payload"]["turn.$"] == f"$.{where}.next"
        assert (states[task]["ResultPath"], states[task]["Next"]) == (f"$.{where}", choice)
        again = {"Variable": f"$.{where}.done", "BooleanEquals": False, "Next": task}
        assert states[choice]["Choices"] == [*before, again]
        assert states[choice]["Default"] == after
    assert STATES["BeginSelect"]["ResultPath"] == "$.selected"


def test_members_are_trained_by_the_map_of_the_candidates_before_select_goes_on() -> None:
    members = STATES["Members"]
    assert (members["ResultPath"], members["Next"]) == ("$.collected", "Train")
    # No other round follows, and nothing is fitted to all rows again: the way leads back to Select.
    assert members["Parameters"] == {"units.$": "$.selected.units", "more": False, "exact": []}
    assert STATES["AllRows"]["Default"] == "BeginSelect"


@pytest.mark.parametrize("name", TASKS)
def test_every_task_retries_what_is_transient_and_once_a_process_that_died(name: str) -> None:
    retry, died = TASKS[name]["Retry"]
    # Behind the gate the version may be live, and one call that hung must not make the run a failed one.
    late = ["Sandbox.Timedout", "States.Timeout"] if name in ("Register", "Finish", "RecordFailure") else []
    assert died["ErrorEquals"] == ["Runtime.ExitError", *late]
    assert died["MaxAttempts"] == 1, "a process that dies twice wants more memory"
    assert set(retry["ErrorEquals"]) == TRANSIENT
    assert retry["JitterStrategy"] == "FULL"
    assert 1 <= retry["MaxAttempts"] <= 6
    assert retry["BackoffRate"] > 1
    assert retry["MaxDelaySeconds"] <= 60


def test_no_map_begins_more_at_once_than_step_functions_would() -> None:
    # The embedded AWS has no such limit by itself, and a laptop no memory for hundreds of functions.
    chunks = json.loads((ROOT / "statemachines" / "chunks.asl.json").read_text("utf-8"))["States"]
    maps = [state for state in [*STATES.values(), *chunks.values()] if state["Type"] == "Map"]
    assert [state["MaxConcurrency"] for state in maps] == [MAP_LANES] * 3


@pytest.mark.parametrize("name", TASKS)
def test_every_task_catches_everything(name: str) -> None:
    (catch,) = TASKS[name]["Catch"]
    assert catch["ErrorEquals"] == ["States.ALL"]
    expected = {"TrainCandidate": "CandidateFailed", "RecordFailure": "Failed"}
    expected |= dict.fromkeys(("BeginRounds", "AddRound"), "BeginSelect")
    assert catch["Next"] == expected.get(name, "RecordFailure")
    # The reason goes on to where it is recorded; beside that, the state stays as it is.
    assert catch["ResultPath"] == ("$.error" if catch["Next"] == "RecordFailure" else None)


@pytest.mark.parametrize("name", TASKS)
def test_no_task_waits_for_ever(name: str) -> None:
    state = TASKS[name]
    function = re.fullmatch(r"\$\{(\w+Function)Arn\}", state["Parameters"]["FunctionName"])
    assert function is not None
    timeout = template()["Resources"][function[1]]["Properties"]["Timeout"]
    assert state["TimeoutSeconds"] > timeout, "the function's own time-out comes first, and says more"
    assert state["TimeoutSeconds"] < DEFINITION["TimeoutSeconds"]


@pytest.mark.parametrize("name", TASKS)
def test_only_tasks_with_a_token_have_heartbeats(name: str) -> None:
    state = TASKS[name]
    waits = state["Resource"].endswith(".waitForTaskToken")
    assert waits is name.startswith("FanOut")
    assert waits is ("HeartbeatSeconds" in state)
    assert waits is ("token.$" in state["Parameters"]["Payload"])


def test_silence_is_longer_than_a_few_heartbeats() -> None:
    workers = template()["Resources"]["PreprocessFunction"]["Properties"]["Environment"]["Variables"]
    every_s = int(workers["MILLRACE_HEARTBEAT_S"])
    for name in ("FanOutScan", "FanOutProfile", "FanOutConvert", "FanOutScore"):
        assert STATES[name]["HeartbeatSeconds"] >= 3 * every_s


def test_the_fan_outs_name_their_pass() -> None:
    assert STATES["FanOutScan"]["Parameters"]["Payload"]["pass_name"] == "scan"
    assert STATES["FanOutProfile"]["Parameters"]["Payload"]["pass_name"] == "profile"
    assert STATES["FanOutConvert"]["Parameters"]["Payload"]["pass_name"] == "convert"
    assert STATES["FanOutScore"]["Parameters"]["Payload"]["pass_name"] == "score"


def test_a_failed_candidate_does_not_sink_the_run() -> None:
    assert TRAIN["CandidateFailed"] == {
        "Type": "Pass",
        "Comment": TRAIN["CandidateFailed"]["Comment"],
        "Result": {},
        "End": True,
    }
    assert TRAIN["CandidateTrained"] == {"Type": "Pass", "Result": {}, "End": True}
    assert "ToleratedFailurePercentage" not in STATES["Train"]


def test_only_names_and_numbers_of_folds_travel() -> None:
    kept = {name for name, state in (STATES | TRAIN).items() if state.get("ResultPath", "") is not None}
    choices = {name for name, state in (STATES | TRAIN).items() if state["Type"] == "Choice"}
    kept -= choices | {"Failed", "CandidateFailed", "CandidateTrained", "BeginSelect"}
    chosen = {
        **dict.fromkeys(("Collect", "Narrow"), ("units", "more", "exact")),
        **dict.fromkeys(("BeginRounds", "AddRound"), ("round", "shards", "done")),
        "TrainCandidate": ("done", "next"),
        "Select": ("done", "next", "units"),
    }
    assert kept == {*chosen, "Members"}
    for name, fields in chosen.items():
        assert (STATES | TRAIN)[name]["ResultSelector"] == {
            f"{field}.$": f"$.Payload.{field}" for field in fields
        }
    assert STATES["Train"]["ItemsPath"] == "$.collected.units"
    payloads = [set(state["Parameters"]["Payload"]) for state in TASKS.values()]
    assert set().union(*payloads) == {
        "run_id.$",
        "unit.$",
        "turn.$",
        "exact",
        "after",
        "units.$",
        "error.$",
        "pass_name",
        "token.$",
    }


def test_a_failure_is_recorded_and_then_fails_the_execution() -> None:
    state = STATES["RecordFailure"]
    assert state["Parameters"]["Payload"] == {"run_id.$": "$.run_id", "error.$": "$.error"}
    assert state["Next"] == "Failed"
    assert STATES["Failed"] == {
        "Type": "Fail",
        "ErrorPath": "$.error.Error",
        "CausePath": "$.error.Cause",
    }


def test_the_template_fills_every_placeholder() -> None:
    assert set(re.findall(r"\$\{(\w+)\}", TEXT)) == set(substitutions())


def test_the_role_may_invoke_what_the_definition_names() -> None:
    policies = template()["Resources"]["RunStateMachineRole"]["Properties"]["Policies"]
    (statement,) = [
        statement
        for statement in policies[0]["PolicyDocument"]["Statement"]
        if statement["Action"] == "lambda:InvokeFunction"
    ]
    allowed = {resource["Fn::GetAtt"][0] for resource in statement["Resource"]}
    assert allowed == {name.removesuffix("Arn") for name in substitutions() if name.endswith("Arn")}


def test_nothing_belongs_to_one_account_region_or_partition() -> None:
    assert not re.search(r"\d{12}|us-east|eu-west|arn:aws", TEXT)
