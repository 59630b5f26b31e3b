"""Errors to problem details, and bodies to values: every class of ``errors.py``, every kind of body."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace import errors
from millrace.edge import http
from millrace.errors import BadInput, MillraceError, TooLarge, TransientError, Unprocessable


def classes(kind: type[MillraceError] = MillraceError) -> list[type[MillraceError]]:
    """Return the tree of errors, by discovery."""
    return [kind] + [found for child in kind.__subclasses__() for found in classes(child)]


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_every_class_has_its_answer(kind: type[MillraceError]) -> None:
    error = kind("It is wrong", code="it-is-wrong", where="line 3", remedy="Mend it.")
    reply = http.reply_problem(error, "/predict")
    details = json.loads(reply["body"])
    assert reply["statusCode"] == details["status"] == kind.status
    assert reply["headers"]["content-type"] == "application/problem+json"
    assert details == {
        "type": "urn:millrace:problem:it-is-wrong",
        "title": http.TITLES[kind.status],
        "status": kind.status,
        "detail": "It is wrong (line 3). Mend it.",
        "code": "it-is-wrong",
        "instance": "/predict",
        "where": "line 3",
    }
    assert ("retry-after" in reply["headers"]) == (kind is TransientError)


def test_the_tree_is_the_one_that_errors_shows() -> None:
    assert {kind.__name__ for kind in classes() if kind.__module__ == errors.__name__} >= {
        *("BadInput", "Unprocessable", "TooLarge", "NotFound", "Conflict", "TransientError", "Misconfigured"),
    }


def test_refused_values_are_listed_and_the_first_stands_at_the_top() -> None:
    error = Unprocessable("No", code="value-type")
    error.values = (
        {"row": 3, "field": "age", "code": "value-type", "message": "No."},
        {"row": 4, "field": "city", "code": "value-type", "message": "No."},
    )
    details = http.problem(error)
    assert (details["row"], details["field"]) == (3, "age")
    assert details["errors"] == list(error.values)
    assert "instance" not in details


def test_a_wrong_method_names_the_right_ones() -> None:
    reply = http.reply_problem(http.wrong_method("GET", "POST"))
    assert (reply["statusCode"], reply["headers"]["allow"]) == (405, "GET, POST")
    assert json.loads(reply["body"])["title"] == "Method not allowed"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_json_is_read_as_it_was_written(value: Any, encoded: bool) -> None:
    text = json.dumps(value)
    event = {
        "body": base64.b64encode(text.encode()).decode() if encoded else text,
        "isBase64Encoded": encoded,
    }
    assert http.body(event, 1 << 20) == value


SPACE = st.sampled_from(["", "", " ", "\n", "\t"])
NAME = st.sampled_from(["a", "b", 'a":', ":", "a :", "\\"]).map(json.dumps)
TEXTS = st.recursive(
    st.sampled_from(["1", "null", '"b"', '"a\\":"', '" : "', "[]", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(NAME, SPACE, SPACE, inner), max_size=3).map(
            lambda members: (
                "{" + ",".join([f"{n}{one}:{other}{value}" for n, one, other, value in members]) + "}"
            )
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_a_member_that_stands_twice_is_refused_in_long_texts_as_in_short_ones(text: str) -> None:
    outcomes: list[Any] = []
    for short in (1 << 20, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(http, "SHORT", short)
            try:
                outcomes.append(http.parse(text))
            except BadInput as error:
                outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@given(st.text(max_size=40))
def test_any_text_is_a_value_or_a_bad_input(text: str) -> None:
    try:
        value = http.parse(text)
    except BadInput as error:
        assert error.code == "body-not-json"
        return
    assert json.loads(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("NaN", "-Infinity", '{"a": 1, "a": 1}', "1 2", "", "[1,]", "{'a': 1}", "[" * 10**5),
        *('{"a":}', '{"a": [,]}', '{"a": nope}', '{"a": 1', '{"a": 1} {}', '{"a": NaN}'),
    ],
)
def test_what_is_not_json(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        http.parse(text)
    assert caught.value.code == "body-not-json"


def test_the_limit_counts_bytes() -> None:
    assert http.body({"body": '"ä"'}, 4) == "ä"
    with pytest.raises(TooLarge):
        http.body({"body": '"ä"'}, 3)
