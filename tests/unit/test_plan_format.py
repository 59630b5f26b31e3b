"""The plan's file format: what it refuses, and that what it accepts can be evaluated."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import struct
import zlib
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace import plan
from millrace.errors import BadInput, TooLarge
from millrace.plan import format, writing
from millrace.scoring.rows import RowScorer

FIELDS = [
    {"name": "x", "type": "number"},
    {"name": "c", "type": "category", "categories": ["a", "b"]},
    {"name": "w", "type": "text"},
    {"name": "t", "type": "time", "format": "iso8601"},
]
ROWS: list[list[Any]] = [
    [1.5, "a", "one two", 0.0],
    [math.nan, None, None, math.nan],
    [-1e300, "unseen", "", 1e18],
]


def document() -> tuple[dict[str, Any], list[Any]]:
    """A plan that uses every kind of encoder, and trees with every kind of split."""
    branches = [
        {"inputs": [0], "steps": [{"kind": "impute", "fill": [0.5], "missing": "nan", "indicators": [0]}]},
        {"inputs": [0], "steps": [{"kind": "scale", "mean": 0, "scale": 1}]},
        {
            "inputs": [1],
            "steps": [
                {
                    "kind": "one-hot",
                    "categories": [["a", "b", None]],
                    "codes": [[0, 1, 1]],
                    "widths": [2],
                    "unknown": [-1],
                }
            ],
        },
        {
            "inputs": [1],
            "steps": [
                {"kind": "ordinal", "categories": [["a", "b"]], "codes": [None], "unknown": None},
            ],
        },
        {
            "inputs": [2],
            "steps": [
                {
                    "kind": "words",
                    "terms": ["one", "two"],
                    "idf": 2,
                    "lower": True,
                    "binary": False,
                    "norm": True,
                }
            ],
        },
        {"inputs": [3], "steps": [{"kind": "time-parts", "parts": ["year", "days"]}]},
    ]
    header = {
        "model": "m",
        "task": "multiclass",
        "classes": ["a", "b", "c"],
        "signature": FIELDS,
        "ignored": [],
        "features": [{"kind": "columns", "branches": branches}],
        "estimator": {
            "kind": "trees",
            "roots": 3,
            "feature": 4,
            "skip": 5,
            "number": 6,
            "outputs": 3,
            "values": 7,
            "baseline": 8,
            "masks": 9,
            "mean": True,
            "single": True,
            "link": "softmax",
        },
    }
    # Width 10. Tree 1: x <= 0.5, then the ordinal code in a set; tree 2: a missing year goes left.
    arrays = [
        array("d", [1.0]),
        array("d", [2.0]),
        array("d", [1.5, 2.5]),
        array("i", [0, 5]),
        array("B", [0, 20 + 5, 0, 0, 0, 10 + 8, 0, 0]),
        array("H", [4, 2, 0, 0, 0, 2, 0, 0]),
        array("d", [0.5, 0.0, 0.0, 1.0, 2.0, 1990.0, 1.0, 0.0]),
        array("d", [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]),
        array("d", [0.25, 0.5, 0.25]),
        array("B", [2, *[0] * 30, 128]),
    ]
    return header, arrays


FIXTURES = Path(__file__).parents[1] / "fixtures"
"""A file of each protocol, as the release wrote it that brought it. None is ever removed."""


def resign(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


def code(data: bytes, **settings: Any) -> str:
    with pytest.raises(BadInput) as refusal:
        plan.read(data, **settings)
    assert refusal.value.remedy
    return refusal.value.code


def test_what_is_written_is_read() -> None:
    header, arrays = document()
    read = plan.read(plan.write(header, arrays))
    assert {**read.header, "arrays": None} == {**header, "arrays": None}
    assert [a.tolist() for a in read.arrays] == [a.tolist() for a in arrays]
    assert [a.format for a in read.arrays] == [a.typecode for a in arrays]
    assert (read.model, read.task, read.classes) == ("m", "multiclass", ("a", "b", "c"))
    assert read.signature.fields == FIELDS


def test_the_same_input_gives_the_same_bytes_and_arrays_are_aligned() -> None:
    header, arrays = document()
    data = plan.write(header, arrays)
    assert data == plan.write(dict(reversed(header.items())), [np.asarray(a) for a in arrays])
    assert len(data) % 8 == 0
    assert data.index(struct.pack("<2d", 1.5, 2.5)) % 8 == 0


@pytest.mark.parametrize("protocol", range(1, plan.PROTOCOL + 1))
def test_files_of_every_protocol_score_as_ever(protocol: int) -> None:
    scorer = RowScorer(plan.read((FIXTURES / f"protocol-{protocol}.plan").read_bytes()))
    # By hand: the first row's leaves are the third and the second class, the others' the first and second.
    powers = [math.exp(value / 2.0) for value in (0.25, 1.5, 1.25)]
    first = [power / sum(powers) for power in powers]
    expected = [first, first[::-1], first[::-1]]
    assert [scorer.score(row)[1] for row in ROWS] == [pytest.approx(p) for p in expected]


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("protocol-*-*.plan")), ids=lambda path: path.stem)
def test_files_of_every_family_answer_as_they_say(path: Path) -> None:
    read = plan.read(path.read_bytes())
    about = read.header["about"]
    scorer = RowScorer(read)
    for row, (prediction, shares) in zip(about["rows"], about["answers"], strict=True):
        answer = scorer.score(read.signature.convert_row(row)[0])
        expected = prediction if isinstance(prediction, str) else pytest.approx(prediction, rel=1e-12)
        assert answer == (expected, shares and pytest.approx(shares, rel=1e-12, abs=1e-15))


def test_this_release_writes_what_its_protocol_says() -> None:
    # Not the same bytes: another build of zlib deflates otherwise.
    old = (FIXTURES / f"protocol-{plan.PROTOCOL}.plan").read_bytes()
    new = plan.write(*document())
    assert opened(new)[0]["texts"] == opened(old)[0]["texts"]
    before, after = plan.read(old), plan.read(new)
    assert before.header == after.header
    assert [a.tobytes() for a in before.arrays] == [a.tobytes() for a in after.arrays]


def test_any_text_survives() -> None:
    header, arrays = document()
    header["model"] = "Größe \U0001f30a \ud800 \x00"
    assert plan.read(plan.write(header, arrays)).model == header["model"]


@pytest.mark.parametrize("bad", [array("l", [1]), np.zeros((2, 2)), np.arange(6.0)[::2]])
def test_arrays_of_other_types_are_not_written(bad: Any) -> None:
    with pytest.raises(ValueError, match="array of type"):
        plan.write(document()[0], [bad])


def test_numbers_that_json_lacks_are_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        plan.write({**document()[0], "about": {"score": math.nan}}, document()[1])


def test_every_truncation_is_refused() -> None:
    data = plan.write(*document())
    codes = {code(data[:size]) for size in range(len(data))}
    assert codes == {"plan-truncated"}


def test_every_flipped_byte_is_refused() -> None:
    data = plan.write(*document())
    by_place: dict[str, set[int]] = {}
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        by_place.setdefault(code(bytes(flipped)), set()).add(place)
    assert by_place["plan-magic"] == set(range(8))
    assert by_place["plan-protocol"] == set(range(8, 12))
    assert set().union(*by_place.values()) == set(range(len(data)))
    assert set(range(32, len(data))) <= by_place["plan-checksum"]


def test_other_files_are_refused() -> None:
    assert code(b"\x80\x04\x95 a pickle, say") == "plan-magic"
    data = plan.write(*document())
    assert code(data + b"\0") == "plan-oversized"
    assert code(resign(data[:8] + struct.pack("<I", plan.PROTOCOL + 1) + data[12:-32])) == "plan-protocol"
    assert code(resign(data[:8] + struct.pack("<I", 0) + data[12:-32])) == "plan-protocol"
    assert code(resign(data[:12] + struct.pack("<I", 1 << 31) + data[16:-32])) == "plan-dimensions"
    assert code(resign(data[:12] + struct.pack("<I", 8) + data[16:-32])) == "plan-header"
    first = (FIXTURES / "protocol-1.plan").read_bytes()
    assert code(resign(first[:12] + struct.pack("<I", 8) + first[16:-32])) == "plan-header"


def test_a_file_over_the_limit_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(TooLarge) as refusal:
        plan.read(b"x" * 100, max_bytes=99)
    assert refusal.value.code == "plan-too-large"


def deflate(content: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflater.compress(content) + deflater.flush()


def with_header(text: bytes, body: bytes = b"", *, protocol: int = 2, stated: int | None = None) -> bytes:
    """A file with that text as its header, and a right checksum."""
    stored = deflate(text) if protocol > 1 else text
    after = bytes(-len(stored) % 8) + body
    size = 24 if protocol == 1 else 32
    total = size + len(stored) + len(after) + 32
    head = struct.pack("<8sIIQ", b"\x89MRPLAN\n", protocol, len(stored), total)
    if protocol > 1:
        head += struct.pack("<Q", len(text) if stated is None else stated)
    return resign(head + stored + after)


def opened(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a file as it stands there, and the arrays' bytes."""
    size = struct.unpack_from("<I", data, 12)[0]
    text = zlib.decompress(data[32 : 32 + size], -15)
    return json.loads(text.decode("utf-8", "surrogatepass")), data[32 + size + -size % 8 : -32]


def closed(header: Any, body: bytes) -> bytes:
    return with_header(json.dumps(header).encode(), body)


def with_arrays(*entries: Any, body: bytes = b"") -> bytes:
    """The document with more arrays, of which nothing is used."""
    header, before = opened(plan.write(*document()))
    return closed({**header, "arrays": [*header["arrays"], *entries]}, before + body)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 8)


@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"texts": [[]], "arrays": [["d", -1]]}',
        b'{"texts": [[]], "arrays": [["x", 1]]}',
        b'{"texts": [[]], "arrays": [["d", true]]}',
        b'{"texts": [[]], "arrays": [["d", 1, 8, 0]]}',
        b'{"texts": [[]], "arrays": [["d", 1, 8, 1, 1]]}',
        b'{"texts": [[]], "arrays": {}}',
        b'{"texts": [[]], "arrays": []}',
    ],
    ids=lambda text: repr(text[-24:]),
)
def test_malformed_headers_are_refused(text: bytes, protocol: int) -> None:
    assert code(with_header(text, protocol=protocol)) == "plan-header"


@pytest.mark.parametrize("stated", [0, 1, 3, 1 << 20])
def test_a_header_that_inflates_to_another_size_is_refused(stated: int) -> None:
    assert code(with_header(b"{}", stated=stated)) == "plan-header"


def test_a_header_over_the_limit_is_refused_before_it_is_inflated() -> None:
    assert code(with_header(b"{}", stated=format.MAX_HEADER_BYTES + 1)) == "plan-too-large"
    bomb = with_header(b" " * (64 << 20), stated=100)
    assert len(bomb) < 100_000
    assert code(bomb) == "plan-header"


def test_arrays_that_inflate_beyond_the_limit_are_refused_before_they_are_inflated() -> None:
    bomb = deflate(bytes(8 << 20))
    data = with_arrays(["d", 1 << 20, len(bomb)], body=padded(bomb))
    assert plan.read(data).arrays[-1].nbytes == 8 << 20
    assert code(data, max_bytes=(8 << 20) - 1) == "plan-too-large"
    assert code(with_arrays(["d", 1 << 40, len(bomb)], body=padded(bomb))) == "plan-too-large"


@pytest.mark.parametrize("planes", [(), (0b10000001,)], ids=["whole", "planes"])
@pytest.mark.parametrize("change", [-1, 1])
def test_arrays_that_inflate_to_another_size_are_refused(planes: tuple[int, ...], change: int) -> None:
    plain = b"" if not planes else bytes(6 * 1000)
    stored = plain + deflate(bytes(2000 if planes else 8000))
    entry = ["d", 1000, len(stored), *planes]
    assert plan.read(with_arrays(entry, body=padded(stored))).arrays[-1].tolist() == [0.0] * 1000
    data = with_arrays(["d", 1000 + change, *entry[2:]], body=padded(stored))
    with pytest.raises(BadInput) as refusal:
        plan.read(data).arrays[-1]
    assert refusal.value.code == "plan-dimensions"


def test_planes_that_an_element_lacks_are_refused() -> None:
    with pytest.raises(BadInput, match="not stored"):
        plan.read(with_arrays(["B", 1, 8, 2], body=bytes(8))).arrays[-1]


def test_an_array_that_is_used_is_made_when_the_plan_is_read_and_others_are_not() -> None:
    header, body = opened(plan.write(*document()))
    data = closed({**header, "arrays": [["d", 1, 8, 1], *header["arrays"][1:]]}, body)
    assert code(data) == "plan-dimensions"
    read = plan.read(with_arrays(["d", 1, 8, 1], body=bytes(8)))
    assert read.arrays.declared(len(read.arrays) - 1) == ("d", 1)


@pytest.mark.parametrize("table", [[["d", 1]], [["d", 1 << 60]], [["d", 1, 8]]])
def test_arrays_beyond_the_file_are_refused(table: list[Any]) -> None:
    assert code(closed({"texts": [[]], "arrays": table}, b"")) == "plan-dimensions"


def test_bytes_that_no_array_owns_are_refused() -> None:
    header, body = opened(plan.write(*document()))
    assert code(closed(header, body + bytes(8))) == "plan-dimensions"


ARRAYS: dict[str, Any] = {
    "random": np.random.default_rng(0).normal(size=5000),
    "zeros": np.zeros(5000),
    "mostly zeros": np.where(np.arange(5000) % 50, 0.0, np.pi / np.arange(1, 5001)),
    "singles": np.random.default_rng(0).normal(size=5000).astype(np.float32).astype(np.float64),
    "integers": np.random.default_rng(0).integers(0, 300, 5000).astype(np.int32),
    "specials": np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324] * 500),
    "short": np.array([1.5]),
    "empty": np.array([]),
    "bytes": np.arange(5000, dtype=np.uint8) % 7,
    "words": (np.arange(5000) // 9).astype(np.uint16),
    "floats": np.linspace(0, 1, 5000, dtype=np.float32),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_bit_by_bit(name: str) -> None:
    header, arrays = document()
    read = plan.read(plan.write(header, [*arrays, ARRAYS[name]]))
    assert read.arrays[-1].tobytes() == ARRAYS[name].tobytes()
    assert read.arrays[-1].format == ARRAYS[name].dtype.char
    assert read.arrays[-1].readonly
    assert read.arrays[-1] is read.arrays[len(arrays)]


def test_arrays_are_stored_in_every_way() -> None:
    header, _ = opened(plan.write(document()[0], [*document()[1], *ARRAYS.values()]))
    assert {len(entry) for entry in header["arrays"]} == {2, 3, 4}


@given(st.lists(st.floats(width=64), max_size=60), st.integers(1, 400))
def test_any_array_comes_back(numbers: list[float], times: int) -> None:
    header, arrays = document()
    content = array("d", numbers * times)
    assert plan.read(plan.write(header, [*arrays, content])).arrays[-1].tobytes() == content.tobytes()


def texts_of(data: bytes) -> Any:
    return opened(data)[0]["texts"]


def test_a_list_of_texts_stands_once_in_a_file() -> None:
    header, arrays = document()
    cities = [f"city {number}" for number in range(1000)]
    header["signature"][1]["categories"] = cities
    branch(2)(header).update(categories=[[*cities, None]], codes=[[0] * 1001])
    branch(3)(header).update(categories=[[city for city in cities if "3" not in city]])
    data = plan.write(header, arrays)
    pool, *lists = texts_of(data)
    assert pool == cities
    assert [runs for runs, *_ in lists[:2]] == [[0, 1000, -1, 1], [0, 1000]]
    read = plan.read(data)
    assert {**read.header, "arrays": None} == {**header, "arrays": None}
    assert len(data) < 12_000


@given(st.lists(st.lists(st.sampled_from([None, "a", "b", "", "\ud800"]) | st.text(max_size=3), max_size=60)))
def test_any_lists_of_texts_come_back(lists: list[list[str | None]]) -> None:
    header, arrays = document()
    header["about"] = {"lists": lists, "again": {"": lists[::-1]}}
    assert plan.read(plan.write(header, arrays)).header["about"] == header["about"]


@pytest.mark.parametrize(
    "texts",
    [
        None,
        [],
        {},
        "ab",
        [["a"], []],
        [["a"], [1, ["model"]]],
        [["a"], [[0], ["model"]]],
        [["a"], [[0, 2], ["model"]]],
        [["a"], [[1, 1], ["model"]]],
        [["a"], [[0, -1], ["model"]]],
        [["a"], [[-1, 1 << 40], ["model"]]],
        [["a"], [[0, 1] * (1 << 20) + [-1, 1 << 22], ["model"]]],
        [["a"], [["0", 1], ["model"]]],
        [["a"], [[0.0, 1], ["model"]]],
        [["a"], [[0, 1], []]],
        [["a"], [[0, 1], ["nowhere", "x"]]],
        [["a"], [[0, 1], ["signature", 99, "x"]]],
        [["a"], [[0, 1], ["model", 0]]],
        [["a"], [[0, 1], [["model"]]]],
    ],
    ids=lambda texts: str(texts)[:30],
)
def test_texts_without_a_place_are_refused(texts: Any) -> None:
    header, body = opened(plan.write(*document()))
    assert code(closed({**header, "texts": texts}, body)) == "plan-header"


def test_too_much_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    header, arrays = document()
    for name in ("MAX_HEADER_BYTES", "MAX_PLAN_BYTES", "MAX_TEXTS"):
        with monkeypatch.context() as patch, pytest.raises(TooLarge) as refusal:
            patch.setattr(writing, name, 10)
            plan.write({**header, "about": {"long": ["x"] * 20}}, arrays)
        assert refusal.value.code == "plan-too-large"


Change = Callable[[dict[str, Any], list[Any]], object]


def branch(number: int) -> Callable[[dict[str, Any]], Any]:
    return lambda header: header["features"][0]["branches"][number]["steps"][0]


def at(number: int, **changes: Any) -> Change:
    return lambda header, arrays: branch(number)(header).update(changes)


def estimator(**changes: Any) -> Change:
    return lambda header, arrays: header["estimator"].update(changes)


def values(number: int, place: int, value: Any) -> Change:
    return lambda header, arrays: arrays[number].__setitem__(place, value)


def member(**changes: Any) -> Change:
    return lambda header, arrays: header.update(changes)


MISFITS: dict[str, tuple[Change, str]] = {
    "model": (member(model=1), "plan-header"),
    "task": (member(task="ranking"), "plan-header"),
    "classes-of-no-text": (member(classes=[1, 2, 3]), "plan-header"),
    "classes-of-regression": (member(task="regression"), "plan-header"),
    "no-classes": (member(classes=[]), "plan-header"),
    "field-type": (member(signature=[{"name": "x", "type": "image"}]), "plan-header"),
    "field-type-of-list": (member(signature=[{"name": "x", "type": []}]), "plan-header"),
    "no-field": (member(signature=[]), "plan-header"),
    "field-twice": (member(signature=[*FIELDS, FIELDS[0]]), "plan-header"),
    "field-name": (member(signature=[{"type": "number"}]), "plan-header"),
    "field-categories": (
        member(signature=[{"name": "x", "type": "category", "categories": [1]}]),
        "plan-header",
    ),
    "features": (member(features={}), "plan-header"),
    "step-of-no-kind": (member(features=[{}]), "plan-header"),
    "step-of-no-object": (member(features=[1]), "plan-header"),
    "unknown-encoder": (member(features=[{"kind": "wavelet"}]), "plan-header"),
    "unknown-estimator": (estimator(kind="oracle"), "plan-header"),
    "unknown-link": (estimator(link="cauchit"), "plan-header"),
    "too-few-classes": (member(classes=["a", "b"]), "plan-dimensions"),
    "link-of-one-output": (estimator(link="logistic"), "plan-dimensions"),
    "estimator-over-texts": (member(features=[]), "plan-dimensions"),
    "input-beyond": (
        lambda header, arrays: header["features"][0]["branches"][0].update(inputs=[4]),
        "plan-dimensions",
    ),
    "input-before": (
        lambda header, arrays: header["features"][0]["branches"][0].update(inputs=[-1]),
        "plan-dimensions",
    ),
    "fill-too-long": (at(0, fill=[0.0, 1.0]), "plan-dimensions"),
    "fill-of-text": (at(0, fill=["x"]), "plan-dimensions"),
    "fill-of-list": (at(0, fill=[[]]), "plan-dimensions"),
    "fill-beyond-float": (at(0, fill=[10**400]), "plan-header"),
    "indicator-beyond": (at(0, indicators=[1]), "plan-dimensions"),
    "missing": (at(0, missing="never"), "plan-dimensions"),
    "mean-too-short": (at(1, mean=2), "plan-dimensions"),
    "mean-of-no-array": (at(1, mean=99), "plan-dimensions"),
    "mean-before": (at(1, mean=-1), "plan-dimensions"),
    "mean-of-true": (at(1, mean=True), "plan-dimensions"),
    "scale-of-zero": (values(1, 0, 0.0), "plan-dimensions"),
    "codes-too-short": (at(2, codes=[[0, 1]]), "plan-dimensions"),
    "codes-beyond": (at(2, codes=[[0, 1, 2]]), "plan-dimensions"),
    "codes-before": (at(2, codes=[[0, 1, -2]]), "plan-dimensions"),
    "unknown-beyond": (at(2, unknown=[2]), "plan-dimensions"),
    "width-huge": (at(2, widths=[1 << 40]), "plan-dimensions"),
    "category-of-number": (at(2, categories=[["a", 1, None]]), "plan-dimensions"),
    "ordinal-of-text": (at(3, codes=[["x", "y"]]), "plan-dimensions"),
    "terms-of-number": (at(4, terms=[1, 2]), "plan-dimensions"),
    "idf-too-short": (at(4, idf=0), "plan-dimensions"),
    "norm-of-text": (at(4, norm="l3"), "plan-dimensions"),
    "unknown-part": (at(5, parts=["moon"]), "plan-dimensions"),
    "too-wide": (at(5, parts=["year"] * ((1 << 18) + 1)), "plan-dimensions"),
    "outputs": (estimator(outputs=0), "plan-dimensions"),
    "roots-beyond": (values(3, 1, 8), "plan-dimensions"),
    "roots-before": (values(3, 1, -1), "plan-dimensions"),
    "no-roots": (estimator(roots=7), "plan-dimensions"),
    "feature-beyond": (values(4, 0, 30), "plan-dimensions"),
    "skip-beyond": (values(5, 5, 3), "plan-dimensions"),
    "skip-of-the-last": (values(5, 7, 1), "plan-dimensions"),
    "skip-of-other-length": (estimator(skip=9), "plan-dimensions"),
    "leaf-beyond": (values(6, 7, 3.0), "plan-dimensions"),
    "leaf-before": (values(6, 7, -1.0), "plan-dimensions"),
    "leaf-of-nan": (values(6, 3, math.nan), "plan-dimensions"),
    "mask-beyond": (values(6, 1, 1.0), "plan-dimensions"),
    "no-masks": (estimator(masks=None), "plan-dimensions"),
    "baseline-too-short": (estimator(baseline=0), "plan-dimensions"),
    "mean-of-number": (estimator(mean=1), "plan-dimensions"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_refused(name: str) -> None:
    change, expected = MISFITS[name]
    header, arrays = copy.deepcopy(document())
    change(header, arrays)
    assert code(plan.write(header, arrays)) == expected


@pytest.mark.parametrize(
    "steps",
    [
        [{"kind": "time-parts", "parts": ["year"] * 9}] * 6,
        [{"kind": "time-parts", "parts": ["year"] * (1 << 15)}] * 3,
        [{"kind": "one-hot", "categories": [[]], "codes": [None], "widths": [200_000], "unknown": [-1]}],
    ],
    ids=["nine-fold", "many-fold", "one-hot"],
)
def test_rows_that_grow_without_end_are_refused(steps: list[Any]) -> None:
    header, arrays = document()
    branch = {"inputs": [0], "steps": steps}
    header["features"] = [{"kind": "columns", "branches": [branch, branch]}]
    assert code(plan.write(header, arrays)) == "plan-dimensions"


def test_int32_tables_may_not_point_back() -> None:
    header, arrays = document()
    for number in (4, 5):
        arrays[number] = array("i", arrays[number])
        before = copy.deepcopy(arrays[number])
        plan.read(plan.write(header, arrays))
        arrays[number][1] = -1
        assert code(plan.write(header, arrays)) == "plan-dimensions"
        arrays[number] = before


def evaluate(data: bytes) -> bool:
    """Score a file that may be anything; it is refused, or every row gets an answer."""
    try:
        read = plan.read(data)
    except BadInput:
        return False
    scorer = RowScorer(read)
    for row in ROWS:
        prediction, probabilities = scorer.score(row)
        assert probabilities is not None
        assert prediction in read.classes
        assert len(probabilities) == len(read.classes)
    return True


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=6))
def test_mutated_files_with_a_right_checksum_are_refused_or_evaluated(changes: list[tuple[int, int]]) -> None:
    body = bytearray(plan.write(*document())[:-32])
    for place, value in changes:
        body[place % len(body)] = value
    evaluate(resign(bytes(body)))


@settings(max_examples=200, deadline=None)
@given(st.integers(3, 9), st.integers(0, 31), st.floats() | st.integers(-300, 300))
def test_mutated_tables_are_refused_or_evaluated(number: int, place: int, value: float) -> None:
    header, arrays = document()
    table = arrays[number]
    if table.typecode != "d":
        if value != value or abs(value) == math.inf:
            value = 0
        limits = {"B": (0, 255), "H": (0, 65535), "i": (-(2**31), 2**31 - 1)}[table.typecode]
        value = min(max(int(value), limits[0]), limits[1])
    table[place % len(table)] = value
    evaluate(plan.write(header, arrays))


def test_the_unchanged_document_is_evaluated() -> None:
    assert evaluate(plan.write(*document()))
