"""Damages scoring plans, and asks of every file that it is refused or scored: no crash, no hang.

``python -m tests.fuzz --files 100000`` prints how many files came to which end as one JSON object, and fails
with the first lines of what went wrong. A file is a function of the seed and its number, so that
``--seed 7 --only 1234`` makes it again.
"""

from __future__ import annotations

import argparse
import collections
import functools
import hashlib
import json
import math
import random
import signal
import struct
import sys
import time
import traceback
import warnings
import zlib
from array import array
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np

from millrace import compiler, plan
from millrace.errors import MillraceError
from millrace.plan.format import ITEM_BYTES
from millrace.scoring import kernel
from millrace.scoring.blocks import BlockScorer
from millrace.scoring.rows import RowScorer

SECONDS = 5.0
"""CPU time that a file may take, from its bytes to its last answer."""
_TYPES = {"d": "d", "f": "f", "i": "i", "H": "H", "B": "B"}


class Stuck(BaseException):
    """A file takes longer than it may."""


def resign(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


def deflate(content: bytes) -> bytes:
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    return deflater.compress(content) + deflater.flush()


def opened(data: bytes) -> tuple[Any, bytes]:
    """The header of a file as it stands there, and the arrays' bytes."""
    size = struct.unpack_from("<I", data, 12)[0]
    text = zlib.decompress(data[32 : 32 + size], -15)
    return json.loads(text.decode("utf-8", "surrogatepass")), data[32 + size + -size % 8 : -32]


def closed(header: Any, body: bytes) -> bytes:
    """A file of that header and those bytes, with right sizes and checksum."""
    text = json.dumps(header, ensure_ascii=False).encode("utf-8", "surrogatepass")
    stored = deflate(text)
    after = bytes(-len(stored) % 8) + body
    total = 32 + len(stored) + len(after) + 32
    return resign(struct.pack("<8sIIQQ", b"\x89MRPLAN\n", 2, len(stored), total, len(text)) + stored + after)


# Values of a header: what JSON may hold in the place of what belongs there.
_VALUES: list[Callable[[random.Random], Any]] = [
    lambda rng: None,
    lambda rng: rng.choice([True, False]),
    lambda rng: rng.choice([-1, 0, 1, 2, 3, 255, 256, 1 << 15, 1 << 18, 1 << 31, 1 << 63, 10**400]),
    lambda rng: rng.randrange(-3, 40),
    lambda rng: rng.choice([0.0, -0.0, 0.5, -1.5, 1e-320, 1e308, -1e308, 5e-324]),
    lambda rng: rng.choice(["", "a", "none", "nan", "kind", "\ud800", "x" * 1000]),
    lambda rng: [],
    lambda rng: {},
    lambda rng: [[]],
    lambda rng: [rng.randrange(5)] * rng.choice([1, 2, 5, 1000]),
    lambda rng: functools.reduce(lambda inner, _: [inner], range(rng.choice([3, 50])), 0),
    lambda rng: rng.choice([*plan.kinds.ENCODERS, *plan.kinds.ESTIMATORS, *plan.kinds.LINKS, "columns"]),
]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a header with each of its keys or positions."""
    items: Any = ()
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, item in items:
        yield value, key
        yield from places(item)


def change_header(header: Any, rng: random.Random) -> None:
    """Change one to four places."""
    for _ in range(rng.randint(1, 4)):
        found = list(places(header))
        if not found:
            return
        holder, key = rng.choice(found)
        chance = rng.random()
        if chance < 0.5:
            holder[key] = rng.choice(_VALUES)(rng)
        elif chance < 0.6:
            del holder[key]
        elif chance < 0.75:
            other, place = rng.choice(found)
            holder[key] = json.loads(json.dumps(other[place]))
        elif chance < 0.9 and isinstance(holder, list):
            holder.insert(key, json.loads(json.dumps(holder[key])))
        elif type(holder[key]) is int:
            holder[key] += rng.choice([-1, 1, 2, -2])
        else:
            holder[key] = rng.choice(_VALUES)(rng)


def change_array(content: memoryview, rng: random.Random) -> Any:
    """Return an array with other elements, another length or another type."""
    code = content.format
    items = content.tolist()
    bits = 8 * ITEM_BYTES[code]
    special: list[Any] = [0.0, -0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e300, 5e-324, 0.5, 255.0, 1e6]
    if code not in "df":
        top = (1 << bits - 1) - 1 if code == "i" else (1 << bits) - 1
        special = [0, 1, 2, 3, top, top - 1, -1 if code == "i" else 5, -top - 1 if code == "i" else 7]
    if code == "f":
        special.remove(1e300)
    chance = rng.random()
    if chance < 0.6 and items:
        for _ in range(rng.randint(1, 5)):
            place = rng.randrange(len(items))
            items[place] = rng.choice([rng.choice(special), rng.choice(items)])
    elif chance < 0.75:
        items = items[: rng.randrange(len(items) + 1)]
    elif chance < 0.9:
        items += [rng.choice(special)] * rng.choice([1, 2, 50])
    else:
        code = rng.choice(list(ITEM_BYTES))
        items = [float(i % 100) if code in "df" else i % 100 for i in range(len(items))]
    return array(_TYPES[code], items)


def damaged(seeds: list[bytes], rng: random.Random) -> bytes | None:
    """Return a file, or None when what was made cannot be written."""
    data = rng.choice(seeds)
    way = rng.random()
    if way < 0.25:  # bytes, with the old checksum or a new one
        body = bytearray(data if rng.random() < 0.4 else data[:-32])
        signed = len(body) != len(data)
        for _ in range(rng.randint(1, 4)):
            chance, place = rng.random(), rng.randrange(len(body))
            if chance < 0.5:
                body[place] ^= 1 << rng.randrange(8)
            elif chance < 0.65:
                body[place] = rng.choice([0, 1, 127, 128, 255])
            elif chance < 0.75:
                del body[place:]
            elif chance < 0.85:
                del body[place : place + rng.choice([1, 8, 64])]
            else:
                other = rng.choice(seeds)
                start = rng.randrange(len(other))
                body[place:place] = other[start : start + rng.choice([1, 8, 64, 1000])]
            if not body:
                break
        if signed and rng.random() < 0.7 and len(body) >= 24:  # sizes that fit again
            body += bytes(-len(body) % 8)
            struct.pack_into("<Q", body, 16, len(body) + 32)
        return resign(bytes(body)) if signed else bytes(body)
    if way < 0.5:  # the header as it stands in the file, entries of arrays and texts included
        header, content = opened(data)
        change_header(header, rng)
        if rng.random() < 0.1:
            content = content[: rng.randrange(len(content) + 1)]
        return closed(header, content)
    read = plan.read(data)
    header, arrays = json.loads(json.dumps(read.header)), list(read.arrays)
    if way < 0.75:
        change_header(header, rng)
    if way > 0.7 and arrays:
        for _ in range(rng.randint(1, 2)):
            number = rng.randrange(len(arrays))
            arrays[number] = memoryview(change_array(arrays[number], rng))
    if rng.random() < 0.05:
        rng.shuffle(arrays)
    try:
        return plan.write(header, arrays)
    except (ValueError, MillraceError):
        return None


_NUMBERS: list[Any] = [1.5, None, -1e300, "3,5", 0, 1e18, "2024-02-29", 255.0]
_TEXTS: list[Any] = ["a", None, "red one two 3rd", "nan", "größe", "x" * 3000, "s1", ""]


def evaluate(data: bytes) -> str:
    """Read a file and score rows in every path; return how it ended."""
    try:
        read = plan.read(data)
    except MillraceError as error:
        return error.code
    converted: list[list[Any]] = []
    for number in range(6):
        row: dict[str, Any] = {}
        for place, field in enumerate(read.signature.fields):
            texts = field["type"] in ("category", "text")
            pool = _TEXTS if texts else _NUMBERS
            row[field["name"]] = pool[(number + place) % len(pool)]
            if texts and number == 5:
                row[field["name"]] = next(iter(field.get("categories", ())), "b")
        try:
            values, _ = read.signature.convert_row(row)
        except MillraceError:
            values = [
                ("a" if f["type"] in ("category", "text") else 0.5 * number) for f in read.signature.fields
            ]
        converted.append(values)
    try:
        scorer, by_block = RowScorer(read), BlockScorer(read)
        answers = [scorer.score(values) for values in converted]
        columns = {}
        for place, field in enumerate(read.signature.fields):
            kind = object if field["type"] in ("category", "text") else np.float64
            columns[field["name"]] = np.array([values[place] for values in converted], dtype=kind)
        result = by_block.score(columns)
    except MillraceError as error:
        return f"scored-{error.code}"
    end = "scored"
    try:
        by_kernel = kernel.KernelScorer(read).score(columns)
        assert len(by_kernel) == result.size
    except kernel.NotCovered:
        end = "scored-without-kernel"
    if read.classes:
        assert all(len(shares or ()) == len(read.classes) for _, shares in answers)
        assert result.shape == (len(converted), len(read.classes))
    else:
        assert result.shape == (len(converted),)
    return end


def seeds(ways: int) -> list[bytes]:
    """A small plan of every class that is covered, encoders and estimators, in so many ways of each."""
    from sklearn.base import clone
    from sklearn.pipeline import Pipeline

    from tests import pipelines
    from tests.unit.test_compiler_parity import CLASSIFIERS, text_schema, with_full

    frame = with_full(pipelines.table(120, 0))
    plans: list[bytes] = []

    def add(features: Any, model: Any, task: Any) -> None:
        y = pipelines.target(frame, task)
        matrix = features.fit_transform(frame, y)
        model.fit(matrix, y)
        parts = list(model.steps) if isinstance(model, Pipeline) else [("estimator", model)]
        pipeline = Pipeline([("features", features), *parts])
        plans.append(compiler.compile(pipeline, schema=text_schema(task), model="m"))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, cases in pipelines.ENCODERS.items():
            for case in list(cases)[:ways]:
                add(clone(pipelines.ENCODERS[name][case]), pipelines.DummyRegressor(), "regression")
        for number, (name, makers) in enumerate(pipelines.ESTIMATORS.items()):
            task = "regression" if name not in CLASSIFIERS else "multiclass" if number % 2 else "binary"
            for maker in list(makers.values())[:ways]:
                add(clone(pipelines.ENCODERS["ColumnTransformer"]["mixed"]), maker(), task)
    return plans


def run(
    files: int, seed: int, first: int = 0, ways: int = 2
) -> tuple[collections.Counter[str], float, list[str]]:
    """Damage so many files; return how many ended how, the longest time, and what went wrong."""
    pool = seeds(ways)
    ends = collections.Counter(map(evaluate, pool))
    assert all(end.startswith("scored") for end in ends), ends
    assert ends["scored"] > len(pool) / 2, "the kernel knows most plans"
    counts: collections.Counter[str] = collections.Counter()
    slowest, wrong = 0.0, []

    def stuck(number: int, frame: FrameType | None) -> None:
        raise Stuck

    before = signal.signal(signal.SIGVTALRM, stuck)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            for number in range(first, first + files):
                data = damaged(pool, random.Random(f"{seed} {number}"))
                if data is None:
                    counts["not-written"] += 1
                    continue
                start = time.process_time()
                signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
                try:
                    counts[evaluate(data)] += 1
                except (Exception, Stuck) as error:  # noqa: BLE001 - whatever it is, it is a finding
                    counts[f"WRONG {type(error).__name__}"] += 1
                    wrong.append(f"--seed {seed} --only {number}\n{traceback.format_exc(limit=-4)}")
                finally:
                    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
                slowest = max(slowest, time.process_time() - start)
    finally:
        signal.signal(signal.SIGVTALRM, before)
    return counts, slowest, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description="Damage scoring plans.")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="one file by its number")
    options = parser.parse_args()
    only = options.only is not None
    counts, slowest, wrong = run(1 if only else options.files, options.seed, options.only or 0)
    # One report for each place in the code where something went wrong.
    for report in {report.partition("\n")[2]: report for report in wrong}.values():
        print(report, file=sys.stderr)
    ends = dict(counts.most_common())
    print(json.dumps({"files": sum(counts.values()), "slowest_s": round(slowest, 3), "ends": ends}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
