"""What a function reads from its environment is what the template gives it, no less and no more."""

from __future__ import annotations

import dataclasses
import re

import pytest

from millrace.edge import settings
from tests.infra.template import ROOT, environment, functions, verb

PREFIX = "MILLRACE_"


def given(function: str) -> set[str]:
    return {name for name in environment(function) if name.startswith(PREFIX)}


@pytest.mark.parametrize("function", sorted(set(functions()) - {"PredictFunction"}))
def test_the_template_gives_each_function_its_settings(function: str) -> None:
    kind = getattr(settings, function.removesuffix("Function") + "Settings")
    assert {f"{PREFIX}{field.name.upper()}" for field in dataclasses.fields(kind)} == given(function)


def test_the_template_gives_predict_what_it_reads() -> None:
    """``predict`` reads its variables itself; its sources name them."""
    lines = (ROOT / "functions" / "predict" / "rooms.txt").read_text("utf-8").splitlines()
    rooms = [line.partition("#")[0].strip() for line in lines]
    sources = [ROOT / "functions" / "predict" / "app.py"]
    sources += [ROOT / "lib" / "millrace" / room for room in rooms if room]
    read = {name for path in sources for name in re.findall(r"MILLRACE_[A-Z_]+", path.read_text("utf-8"))}
    assert read == given("PredictFunction")


@pytest.mark.parametrize("function", sorted(functions()))
def test_the_log_names_the_function(function: str) -> None:
    assert environment(function)["POWERTOOLS_SERVICE_NAME"] == verb(function)
