"""The template as plain data, for the tests that read it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent

_LONG_NAMES = {"Ref": "Ref", "Condition": "Condition"}


class _Loader(yaml.SafeLoader):
    """Reads the short forms of CloudFormation's functions as their long ones."""


def _long_form(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    name = _LONG_NAMES.get(tag, f"Fn::{tag}")
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        return {name: value.split(".", 1) if tag == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _long_form)


@functools.cache
def template() -> dict[str, Any]:
    """Return ``template.yaml``."""
    loaded: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text("utf-8"), Loader=_Loader)
    return loaded


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of every resource of one type, by logical id."""
    return {
        name: resource.get("Properties", {})
        for name, resource in template()["Resources"].items()
        if resource["Type"] == kind
    }


def functions() -> dict[str, dict[str, Any]]:
    """Return the properties of every function, by logical id."""
    return resources("AWS::Serverless::Function")


def verb(logical_id: str) -> str:
    """Return the folder of a function: ``FanOutFunction`` is ``fan_out``."""
    name = logical_id.removesuffix("Function")
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def environment(logical_id: str) -> dict[str, Any]:
    """Return a function's environment, the common part included."""
    common: dict[str, Any] = template()["Globals"]["Function"]["Environment"]["Variables"]
    own: dict[str, Any] = functions()[logical_id].get("Environment", {}).get("Variables", {})
    return common | own


def statements(logical_id: str) -> list[tuple[list[str], list[Any]]]:
    """Return the actions and resources of each statement of a function's role."""
    role = functions()[logical_id]["Role"]["Fn::GetAtt"][0]
    found = []
    added = [one for one in resources("AWS::IAM::Policy").values() if {"Ref": role} in one["Roles"]]
    for policy in [*template()["Resources"][role]["Properties"]["Policies"], *added]:
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            found.append((_listed(statement["Action"]), _listed(statement["Resource"])))
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
