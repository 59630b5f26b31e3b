"""The tables that the platform tests upload: made here, seeded, small; odd or broken in one way each."""

from __future__ import annotations

import gzip
import random
from dataclasses import dataclass, field
from typing import Any

QUICK = {"budget": "quick"}


@dataclass(frozen=True)
class Upload:
    """A file with what must come of it."""

    data: bytes
    state: str
    code: str = ""
    """Of the error, for a run that must fail."""
    says: tuple[str, ...] = ()
    """Parts of the sentences that the run must show: its error's message, or its warnings."""
    rejected: int = 0
    file: str = "table.csv"
    spec: dict[str, Any] = field(default_factory=lambda: dict(QUICK))


def rows(count: int, seed: int = 0) -> list[list[str]]:
    """Return rows of number, category, text and a target that depends on the first two."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        size = rng.gauss(0, 1)
        colour = rng.choice(["red", "green", "blue"])
        note = rng.choice(["fine and dry", "wet", "dry, but cold", "cold"])
        bought = size + (1 if colour == "red" else 0) + rng.gauss(0, 0.5) > 0.3
        made.append([f"{size:.4f}" if rng.random() > 0.05 else "", colour, note, "yes" if bought else "no"])
    return made


def table(header: list[str], body: list[list[str]]) -> bytes:
    """Return a CSV file; cells with a comma are quoted."""
    lines = [",".join(f'"{cell}"' if "," in cell else cell for cell in row) for row in [header, *body]]
    return ("\n".join(lines) + "\n").encode()


HEADER = ["size", "colour", "note", "bought"]


def _with(column: int, value: str) -> bytes:
    return table(HEADER, [[value if i == column else cell for i, cell in enumerate(row)] for row in rows(80)])


def _ragged() -> bytes:
    body = [",".join(cell.replace(",", "") for cell in row) for row in rows(150)]
    body[10] += ",one too many"
    body[70] = "0.5,red"
    return ("\n".join([",".join(HEADER), *body]) + "\n").encode()


def _latin_1() -> bytes:
    body = [
        [size, {"red": "röd"}.get(colour, colour), note, target] for size, colour, note, target in rows(150)
    ]
    return table(["size", "färg", "note", "bought"], body).decode().encode("latin-1")


def _odd() -> bytes:
    """Nothing is wrong with it: a rare class, a constant and an empty column, names twice and none."""
    body = [
        [size, colour, "same", "", size, note, "rare" if number == 5 else target]
        for number, (size, colour, note, target) in enumerate(rows(150))
    ]
    return table(["size", "colour", "constant", "nothing", "size", "", "bought"], body)


def _packed(lines: int) -> bytes:
    """Return a table of 20 bytes a line, as gzip; it shrinks to a hundredth."""
    return gzip.compress(b"size,colour,bought\n" + b"0.1234,red,one,yes1\n" * lines, compresslevel=1, mtime=0)


def _broken_gzip() -> bytes:
    """Cut off after some 10 MB of text, so that a part of the inflated copy has been written by then."""
    return _packed(500_000)[:-1000]


def _misfit() -> bytes:
    """One cell in 250 is no number: the column stays one of numbers, and the cell becomes missing."""
    body = rows(250)
    body[30][0] = "about 2"
    return table(HEADER, body)


def _regression() -> bytes:
    rng = random.Random(1)
    body = []
    for size, colour, note, _ in rows(200, seed=1):
        price = 10 * float(size or 0) + (5 if colour == "red" else 0) + rng.gauss(0, 1)
        body.append([size, colour, note, f"{price:.2f}"])
    return gzip.compress(table(["size", "colour", "note", "price"], body), mtime=0)


def _titanic() -> bytes:
    """Made-up passengers, with the columns that the events in ``events/`` ask about."""
    rng = random.Random(2)
    body = []
    for _ in range(160):
        sex, klass = rng.choice(["male", "female"]), rng.choice(["1", "2", "3"])
        age = "" if rng.random() < 0.1 else str(rng.randint(1, 70))
        fare = f"{rng.expovariate(0.03):.2f}"
        survived = rng.random() < (0.75 if sex == "female" else 0.2)
        port = rng.choice(["S", "C", "Q"])
        body.append(
            [klass, sex, age, str(rng.randint(0, 2)), str(rng.randint(0, 2)), fare, port, str(int(survived))]
        )
    return table(["Pclass", "Sex", "Age", "SibSp", "Parch", "Fare", "Embarked", "Survived"], body)


UPLOADS: dict[str, Upload] = {
    "empty-file": Upload(b"", "FAILED", "file-empty", ("empty", "Upload")),
    "header-only": Upload(b"size,colour,note,bought\n", "FAILED", "no-rows"),
    "one-column": Upload(table(["bought"], [[row[3]] for row in rows(80)]), "FAILED", "no-features"),
    "binary": Upload(bytes(range(256)) * 64, "FAILED", "file-binary"),
    "constant-target": Upload(_with(3, "yes"), "FAILED", "target-constant", ("bought",)),
    "missing-target": Upload(_with(3, ""), "FAILED", "target-missing", ("bought",)),
    "over-the-limit": Upload(b"a,b\n" + b"1,2\n" * 3_000_000, "FAILED", "file-too-large", ("12,000,000",)),
    "broken-gzip": Upload(_broken_gzip(), "FAILED", "gzip-truncated", file="table.csv.gz"),
    "gzip-bomb": Upload(_packed(1_000_000), "FAILED", "inflated-too-large", file="table.csv.gz"),
    "wrong-spec": Upload(table(HEADER, rows(80)), "FAILED", "spec-invalid", spec={"targt": "bought"}),
    "unknown-target": Upload(
        table(HEADER, rows(80)), "FAILED", "column-unknown", ("brought",), spec={"target": "brought"}
    ),
    "ragged": Upload(_ragged(), "SUCCEEDED", rejected=2),
    "misfit": Upload(_misfit(), "SUCCEEDED", says=("1 cells of 'size'",)),
    "latin-1": Upload(_latin_1(), "SUCCEEDED"),
    "odd-but-fine": Upload(_odd(), "SUCCEEDED", says=("rare", "constant", "nothing", "size")),
    "titanic": Upload(_titanic(), "SUCCEEDED"),
    "regression": Upload(_regression(), "SUCCEEDED", file="table.csv.gz"),
}
