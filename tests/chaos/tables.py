"""The tables of the scenarios: small, seeded, with what must become of every record known beforehand."""

from __future__ import annotations

import gzip
import random
from dataclasses import dataclass

SPEC = {"target": "bought", "budget": "quick"}
HEADER = "serial,size,colour,note,bought"
ROWS = 96


@dataclass(frozen=True)
class Table:
    """A file, and its records by their serial, which is a number of its own for each.

    ``ragged`` are no records of the table at all; ``unlabelled`` can be scored but not learned from.
    """

    data: bytes
    good: tuple[float, ...]
    unlabelled: tuple[float, ...]
    ragged: tuple[float, ...]
    ending: str = ".csv"

    def accepted(self, kind: str) -> list[float]:
        """Return the serials that a run must keep, in the order of the file."""
        odd = set(self.ragged if kind == "score" else self.ragged + self.unlabelled)
        return [serial for serial in self.good if serial not in odd]

    def rejected(self, kind: str) -> list[float]:
        """Return the serials that a run must list as rejected."""
        return sorted(self.ragged if kind == "score" else self.ragged + self.unlabelled)


def _make(seed: int, *, ragged: int, unlabelled: int, packed: bool = False) -> Table:
    rng = random.Random(seed)
    serials = [round(rng.uniform(10, 1000), 6) for _ in range(ROWS)]
    odd = rng.sample(range(ROWS), ragged + unlabelled)
    lines = [HEADER]
    for number, serial in enumerate(serials):
        size, colour = rng.gauss(0, 1), rng.choice(["red", "green", "blue"])
        note = rng.choice(["fine and dry", "wet", '"dry, but cold"', '"cold\nand wet"'])
        bought = "yes" if size + (colour == "red") + rng.gauss(0, 0.5) > 0.3 else "no"
        line = f"{serial:.6f},{size:.4f},{colour},{note},"
        line += "" if number in odd[ragged:] else bought
        lines.append(line + ",one too many" if number in odd[:ragged] else line)
    data = ("\n".join(lines) + "\n").encode()
    return Table(
        gzip.compress(data, mtime=0) if packed else data,
        good=tuple(serials),
        unlabelled=tuple(serials[number] for number in odd[ragged:]),
        ragged=tuple(serials[number] for number in odd[:ragged]),
        ending=".csv.gz" if packed else ".csv",
    )


TABLES = (
    _make(1, ragged=0, unlabelled=0),
    _make(2, ragged=3, unlabelled=4),
    _make(3, ragged=2, unlabelled=3, packed=True),
)
