"""How well files that people really have are read: a corpus of real and adversarial CSV files.

``make bench NAME=csv`` takes every file of the shared corpus through reading, profile, schema and conversion,
as the functions do, and holds what comes out against what the corpus expects of it: the very cells
(``exact``), rows and columns (``shape``), or a use or a refusal of a kind. A column without a name and
without any value, which delimiters at the end of each line make, is no column of ours; ``shape`` counts it,
because the parsers that the expectation comes from do. A file behind a deviation from the expectation must
be listed below with a reason: one that is not, or that no longer deviates, ends the benchmark as failed.

The last line is one JSON object: ``exact`` and ``shape`` as fractions, ``crashes`` (hangs among them), the
number of ``files``, of ``kinds`` (other expectations) as a fraction, ``python`` (CPython's own cases of
records that its parser and ours share) as a fraction, and the ``deviations``.
"""

from __future__ import annotations

import argparse
import csv
import json
import signal
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.figures import Table
from millrace import csvfile
from millrace.contracts import Dialect, Layout, Spec
from millrace.csvfile.dialect import decode_cell
from millrace.csvfile.records import physical_lines, split_records
from millrace.errors import BadInput, TooLarge
from millrace.features.blocks import read_blocks, write_block
from millrace.features.columnar import convert_bytes
from millrace.profile import decide_schema, merge
from millrace.profile.build import profile_bytes

__all__ = ["DEVIATIONS", "Outcome", "judge", "read", "score"]

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "data" / "csv"
DEVIATIONS: Mapping[str, str] = {
    "fetched/csvkit/realdata__Datagov_FY10_EDU_recp_by_State.csv": (
        "A line of commas and a title filled up with commas stand above the header; the parsers of the "
        "reference take the commas for the header, and title and header for rows. We begin at the header."
    ),
    "fetched/duckdb/error__mid_null.csv": (
        "Three of four lines have three fields under ';', and one has six: we reject that one. The reference "
        "reads one column of lines."
    ),
    "fetched/duckdb/fuzzing__37.csv": (
        "Two lines of random bytes: no two of the parsers agree for a reason that the bytes give."
    ),
    "fetched/duckdb/rejects__unquoted__unquoted_last_value.csv": (
        "The last value opens a quote, and the file ends: it may be cut off, so the record is rejected, and "
        "listed. The reference keeps it."
    ),
}
"""Why a file is not read as the corpus expects; each was looked at."""

SECONDS = 60.0
"""Reading a file that takes longer is a hang."""
BOMB_BYTES = 8 << 20
"""Limit on the inflated size under which the bomb is tried; it inflates to about 20 MB."""
BOMB_PEAK_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 16
_CHUNK_BYTES = 200_000


class Hang(Exception):
    """Reading takes too long."""


@dataclass
class Outcome:
    """What became of a file.

    Attributes
    ----------
    names : tuple of str
        Column names; none when the file was refused before.
    cells : list of list of str
        The records that were kept.
    columns : int
        Fields of the table's first record, a nameless and empty one among them.
    rejects : int
        Records that were rejected for their structure.
    refused : BadInput or None
        Why the file is not used.
    trained_rows : int
        Rows that reached the training blocks.
    faults : list of str
        What must never be: a crash, a hang, a record that is neither kept nor rejected.
    """

    names: tuple[str, ...] = ()
    cells: list[list[str]] = field(default_factory=list)
    columns: int = 0
    rejects: int = 0
    refused: BadInput | None = None
    trained_rows: int = 0
    faults: list[str] = field(default_factory=list)


def blocks_of(data: bytes) -> Iterator[bytes]:
    """Yield the data in blocks, as a store would."""
    for start in range(0, len(data), _BLOCK_BYTES):
        yield data[start : start + _BLOCK_BYTES]


def read(data: bytes) -> Outcome:
    """Take a file from its bytes to training blocks, and see that no record is lost."""
    outcome = Outcome()
    previous = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        _read(data, outcome)
    except BadInput as error:
        outcome.refused = error
        if not (error.code and error.remedy):
            outcome.faults.append(f"an error without code or remedy: {error}")
    except Hang:
        outcome.faults.append(f"a hang: not read in {SECONDS:g} s")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        outcome.faults.append(f"a crash: {type(error).__name__}: {error}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
    return outcome


def _too_long(*_: Any) -> None:
    raise Hang


def _read(data: bytes, outcome: Outcome) -> None:
    if csvfile.needs_rewrite(data[: csvfile.HEAD_BYTES]):
        data = b"".join(csvfile.rewrite(blocks_of(data), max_bytes=256 << 20))
    sniffed = csvfile.sniff(data[: csvfile.HEAD_BYTES], complete=len(data) <= csvfile.HEAD_BYTES)
    outcome.names = sniffed.names
    outcome.columns = max(len(sniffed.names), _fields_of_first(data, sniffed.dialect))
    found = csvfile.find_chunks(lambda a, b: data[a:b], len(data), sniffed.dialect, _CHUNK_BYTES)
    notes = sniffed.notes + found.notes
    layout = Layout("", "", "", len(data), found.dialect, sniffed.names, found.chunks, notes)

    def records(number: int) -> Iterator[csvfile.Record | csvfile.Reject]:
        chunk = layout.chunks[number]
        return csvfile.read_records(data[chunk.start : chunk.end], layout.dialect, chunk, len(layout.names))

    everything = [record for chunk in layout.chunks for record in records(chunk.number)]
    outcome.cells = [record.cells for record in everything if isinstance(record, csvfile.Record)]
    outcome.rejects = len(everything) - len(outcome.cells)
    if len(everything) != found.records or [r.number for r in everything] != list(range(len(everything))):
        outcome.faults.append(f"{found.records} records were found, and {len(everything)} read")
    chunks = [(data[chunk.start : chunk.end], chunk) for chunk in layout.chunks]
    profile = merge([profile_bytes(part, layout, chunk)[0] for part, chunk in chunks])
    if profile.rows_read != len(everything):
        outcome.faults.append(f"of {len(everything)} records {profile.rows_read} are profiled")
    schema = decide_schema(profile, layout, Spec())
    converted = [convert_bytes(part, schema, layout, chunk) for part, chunk in chunks]
    tables = [part.table for part in converted]
    blocks = [write_block(schema, table.columns, table.target, table.record) for table in tables]
    outcome.trained_rows = len(read_blocks(blocks, schema))
    rejected = sum(len(part.rejects) for part in converted)
    if outcome.trained_rows + rejected != len(everything):
        outcome.faults.append(
            f"of {len(everything)} records {outcome.trained_rows} are kept and {rejected} rejected"
        )


def _fields_of_first(data: bytes, dialect: Dialect) -> int:
    lines = physical_lines(blocks_of(data), skip_bytes=dialect.skip_bytes)
    return next(len(record.cells) for record in split_records(lines, dialect) if record.cells)


def judge(entry: Mapping[str, Any], outcome: Outcome, wanted: list[list[str]] | None) -> str:
    """Return how a file deviates from what the corpus expects of it; empty when it does not.

    Parameters
    ----------
    entry : mapping
        The file's entry in the corpus' index.
    outcome : Outcome
        What became of it.
    wanted : list of list of str or None
        Header and rows, if the file is ``exact``.
    """
    kind, refused = entry["expect"], outcome.refused
    before = refused is not None and not outcome.cells
    if kind == "exact":
        return _cells_differ([list(outcome.names), *outcome.cells], wanted or [])
    shape = entry["expected_shape"]
    if shape and kind in ("shape", "parse"):
        found = [len(outcome.cells), outcome.columns]
        return "" if found == shape else f"{found} instead of {shape}" + (f": {refused}" if before else "")
    if kind == "parse":
        return "" if outcome.cells else f"no row is read: {refused}"
    if kind == "trains":
        return "" if outcome.trained_rows else f"no row is left to train on: {refused}"
    if kind == "4xx":
        return "" if before else "it is read"
    if kind == "4xx-at-train":
        return "" if refused else "it is not refused"
    if kind in ("parse-or-4xx", "reject-or-report", "no-crash"):
        return "" if refused or outcome.cells or outcome.rejects else "it is neither read nor refused"
    return f"the corpus expects {kind!r}, which is not known here"


def _cells_differ(found: list[list[str]], wanted: list[list[str]]) -> str:
    if found == wanted:
        return ""
    if len(found) != len(wanted):
        return f"{len(found)} records instead of {len(wanted)}"
    place, (ours, theirs) = next(
        (place, pair) for place, pair in enumerate(zip(found, wanted, strict=True)) if pair[0] != pair[1]
    )
    return f"record {place} is {ours!r:.80} instead of {theirs!r:.80}"


def _wanted(
    file: str, expected: Mapping[str, Any], corpus: Path
) -> tuple[list[list[str]], Callable[[list[list[str]]], list[list[str]]]]:
    """Return header and rows of an ``exact`` file, and what undoes a difference that the corpus names."""
    answer = expected[file]
    undo = _UNDO.get(answer.get("except"), _as_it_is)
    if file.endswith("decimal_comma.csv"):
        undo = _with_points
    if answer["form"] == "same-as":
        same = read((corpus / answer["file"]).read_bytes())
        return [list(same.names), *same.cells], undo
    if answer["form"] == "records":
        names = list(answer["rows"][0])
        return [names, *([row[name] for name in names] for row in answer["rows"])], undo
    rows: list[list[str]] = answer["rows"]
    return rows, undo


def _as_it_is(rows: list[list[str]]) -> list[list[str]]:
    return rows


def _with_points(rows: list[list[str]]) -> list[list[str]]:
    return [[cell.replace(",", ".") for cell in row] for row in rows]


_UNDO: Mapping[str | None, Callable[[list[list[str]]], list[list[str]]]] = {
    "one extra leading unnamed column": lambda rows: [row[1:] for row in rows],
    "missing spelled NA": lambda rows: [["" if cell == "NA" else cell for cell in row] for row in rows],
    "values may carry a leading space": lambda rows: [[cell.strip() for cell in row] for row in rows],
    'column city has "\\nsecond line" appended to each non-empty value': lambda rows: _first_lines(rows),
    'column mature has "\\nsecond line" appended to each non-empty value': lambda rows: _first_lines(rows),
}
"""How a rendering differs from its table, in the corpus' own words; undone before the two are compared."""


def _first_lines(rows: list[list[str]]) -> list[list[str]]:
    return [[cell.removesuffix("\nsecond line") for cell in row] for row in rows]


def _bounded(data: bytes) -> str:
    """Return what is wrong with how a bomb is met: it must end early, with an error, in little memory."""
    tracemalloc.start()
    try:
        size = sum(map(len, csvfile.rewrite(blocks_of(data), max_bytes=BOMB_BYTES)))
        return f"{size} bytes came out of it under a limit of {BOMB_BYTES}"
    except TooLarge:
        peak = tracemalloc.get_traced_memory()[1]
        return "" if peak <= BOMB_PEAK_BYTES else f"{peak} bytes of memory were taken"
    finally:
        tracemalloc.stop()


def _python_cases(corpus: Path) -> tuple[int, int]:
    """Return how many of CPython's cases that our dialects can express come out alike, and of how many."""
    cases = json.loads((corpus / "cpython_test_csv_cases.json").read_text("utf-8"))["cases"]
    right = total = 0
    for case in cases:
        options = {"delimiter": ",", "quotechar": '"', "quoting": csv.QUOTE_MINIMAL, **case["dialect"]}
        if not options.get("doublequote", True) or options["quoting"] == csv.QUOTE_NONNUMERIC:
            continue
        dialect = Dialect(
            delimiter=options["delimiter"],
            quote="" if options["quoting"] == csv.QUOTE_NONE else options["quotechar"] or "",
            escape=options.get("escapechar") or "",
            skip_space=bool(options.get("skipinitialspace")),
        )
        text = case["input"] if case["lines"] is None else "".join(case["lines"])
        records = split_records(physical_lines([text.encode()]), dialect)
        total += 1
        found = [[decode_cell(cell, "utf-8") for cell in record.cells or ()] for record in records]
        right += found == case["expected"]
    return right, total


def score(corpus: Path = CORPUS) -> dict[str, Any]:
    """Judge every file of the corpus.

    Returns
    -------
    dict
        The last line of the benchmark; ``unlisted`` and ``stale`` name the files whose deviation is not in
        ``DEVIATIONS``, or that are there and no longer deviate.
    """
    entries = json.loads((corpus / "index.json").read_text("utf-8"))
    expected = json.loads((corpus / "expected.json").read_text("utf-8"))
    counts: dict[str, list[int]] = {"exact": [0, 0], "shape": [0, 0], "kinds": [0, 0]}
    deviations: dict[str, str] = {}
    faults: dict[str, str] = {}
    for entry in entries:
        file, kind = entry["file"], entry["expect"]
        data = (corpus / file).read_bytes()
        if kind == "bounded":
            wrong = _bounded(data)
        else:
            outcome, wanted = read(data), None
            if kind == "exact":
                wanted, undo = _wanted(file, expected, corpus)
                rows = undo([list(outcome.names), *outcome.cells])
                outcome.names, outcome.cells = tuple(rows[0]), rows[1:]
            wrong = judge(entry, outcome, wanted)
            if outcome.faults:
                faults[file] = "; ".join(outcome.faults)
        if kind == "shape" and not entry["expected_shape"]:
            continue  # the corpus says nothing that can be checked of it, but that it must not crash
        group = counts[kind if kind in counts else "kinds"]
        group[1] += 1
        group[0] += not wrong
        if wrong:
            deviations[file] = wrong
    counts["python"] = list(_python_cases(corpus))
    return {
        **{name: round(right / total, 4) for name, (right, total) in counts.items()},
        "crashes": len(faults),
        "files": len(entries),
        "counts": {name: f"{right} of {total}" for name, (right, total) in counts.items()},
        "deviations": deviations,
        "faults": faults,
        "unlisted": sorted(deviations.keys() - DEVIATIONS.keys()),
        "stale": sorted(DEVIATIONS.keys() - deviations.keys()),
    }


def main() -> int:
    """Print each deviation with its reason, then the score as one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.csv", description=__doc__)
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="folder of the corpus")
    found = score(parser.parse_args().corpus)
    table = Table("file", "deviation")
    for file, wrong in found["deviations"].items():
        table.add(file, wrong)
    table.print("Deviations")
    for file in found["deviations"]:
        print(f"\n{file}\n  {DEVIATIONS.get(file, 'NOT LISTED: look at it')}", file=sys.stderr)
    print(json.dumps(found))
    return 1 if found["unlisted"] or found["stale"] or found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
