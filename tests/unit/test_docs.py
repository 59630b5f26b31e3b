"""The documentation says what the code says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from millrace.cli.app import build_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])


class _Template(yaml.SafeLoader):
    """Reads CloudFormation's short tags as what they hold."""


def _tag(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node)


_Template.add_multi_constructor("!", _tag)


def codes() -> set[str]:
    found = set()
    for folder in ("lib", "functions"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if (
                    isinstance(node, ast.keyword)
                    and node.arg == "code"
                    and isinstance(node.value, ast.Constant)
                ):
                    found.add(node.value.value)
    return found


def test_every_error_code_is_explained() -> None:
    page = (ROOT / "docs/reference/errors.md").read_text("utf-8")
    explained = set(re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)*)`", page))
    assert len(codes()) > 50
    assert codes() - explained == set()


def test_every_explained_code_exists() -> None:
    page = (ROOT / "docs/reference/errors.md").read_text("utf-8")
    explained = {
        code
        for line in page.splitlines()
        if line.startswith("| `") and "Error" not in line
        for code in re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", line.split("|")[1])
    }
    text = "".join(path.read_text("utf-8") for path in (ROOT / "lib").rglob("*.py"))
    assert {code for code in explained if f'"{code}"' not in text} == set()


def test_every_parameter_of_the_stack_is_explained_with_its_default() -> None:
    template = yaml.load((ROOT / "template.yaml").read_text("utf-8"), _Template)
    page = (ROOT / "docs/reference/settings.md").read_text("utf-8")
    for name, parameter in template["Parameters"].items():
        default = f"`{parameter['Default']}`" if parameter["Default"] != "" else "empty"
        assert f"| `{name}` | {default} |" in page


def test_every_command_is_explained() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text("utf-8")
    commands = next(a.choices for a in build_parser()._actions if a.dest == "name")
    assert commands is not None
    assert {name for name in commands if f"`millrace {name}" not in page} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        if not target.startswith(("http:", "https:", "#")):
            assert (page.parent / target.split("#")[0]).exists(), target


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs/decisions/README.md").read_text("utf-8")
    pages = [page.name for page in (ROOT / "docs/decisions").glob("*.md") if page.name != "README.md"]
    assert {name for name in pages if f"({name})" not in listed} == set()
