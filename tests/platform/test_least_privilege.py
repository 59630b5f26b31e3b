"""Each role equals the calls that its function was seen making, plus what was reviewed; runs last.

IAM is enforced on this platform: a call without its permission has failed some test before this one.
"""

from __future__ import annotations

import fnmatch
import functools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.reviewed_permissions import DELIVERY, REVIEWED
from tests.infra.template import functions, template
from tests.platform.conftest import PARAMETERS
from tests.platform.stack import Stack

Permission = tuple[str, str]


@pytest.fixture(scope="session")
def roles(stack: Stack) -> dict[str, str]:
    """The physical name of each function's role."""
    resources = stack.platform.resources()
    return {name: resources[properties["Role"]["Fn::GetAtt"][0]] for name, properties in functions().items()}


@functools.cache
def decisions(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def granted(stack: Stack, role: str) -> Iterator[Permission]:
    iam = stack.platform.client("iam")
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
    for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        for statement in document["Statement"]:
            for action in _listed(statement["Action"]):
                for resource in _listed(statement["Resource"]):
                    yield action, resource


def _listed(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def _covers(permission: Permission, call: Permission) -> bool:
    """Tell whether a permission allows a call; IAM's ``*`` takes slashes, as :mod:`fnmatch`'s does."""
    return permission[0] == call[0] and fnmatch.fnmatchcase(call[1], permission[1].replace("[", "[[]"))


def _is(permission: Permission, listed: Permission) -> bool:
    action, part = listed
    return permission[0] == action and (permission[1] == "*" if part == "*" else part in permission[1])


def test_no_call_was_refused(iam_log: Path, stack: Stack) -> None:
    refused = {
        (line["role"], line["action"], line["resource"]) for line in decisions(iam_log) if not line["allowed"]
    }
    assert not refused


@pytest.mark.parametrize("function", sorted(functions()))
def test_a_role_is_what_its_function_uses(
    function: str, stack: Stack, roles: dict[str, str], iam_log: Path
) -> None:
    calls = {
        (str(line["action"]), str(line["resource"]))
        for line in decisions(iam_log)
        if line["role"] == roles[function]
    }
    assert calls, f"the platform tests never ran {function}"
    reviewed = DELIVERY | REVIEWED.get(function, {})
    permissions = set(granted(stack, roles[function]))

    unused = {p for p in permissions if not any(_covers(p, call) for call in calls)}
    unexplained = {p for p in unused if not any(_is(p, listed) for listed in reviewed)}
    assert not unexplained, f"{function} may, but was not seen to, and no reason is listed"

    # A stack whose fan-out is a Map has no stream of tickets, so nobody may write to one.
    gone = {listed for listed in reviewed if PARAMETERS["FanOut"] == "map" and listed[1] == "stream/"}
    stale = {listed for listed in reviewed.keys() - gone if not any(_is(p, listed) for p in permissions)}
    assert not stale, f"{function}: listed as reviewed, but the role does not have it"


def test_only_functions_of_the_template_were_reviewed() -> None:
    assert set(REVIEWED) <= set(functions())


def test_the_state_machine_may_invoke_the_functions_of_its_definition_only() -> None:
    machine = template()["Resources"]["RunStateMachine"]["Properties"]
    role = template()["Resources"]["RunStateMachineRole"]["Properties"]["Policies"][0]["PolicyDocument"]
    invoke = next(one for one in role["Statement"] if one["Action"] == "lambda:InvokeFunction")
    named = [
        value for key, value in machine["DefinitionSubstitutions"].items() if key.endswith("FunctionArn")
    ]
    assert sorted(map(str, invoke["Resource"])) == sorted(map(str, named))
