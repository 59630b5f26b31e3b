"""The two passes of a worker over a CSV file, beside readers that convert it to Parquet once.

``make bench NAME=ingest`` writes three tables (a million mixed rows, 500 columns, and mostly text) and takes
each in turn through ours and DuckDB's ``COPY (SELECT * FROM read_csv(…)) TO … (FORMAT parquet)``, pandas,
polars and pyarrow, each in a process of its own with one thread. Ours is what the worker does with every
chunk: the profile and its part as JSON, all parts merged and the schema decided; then the conversion, the
training block and the Parquet file, both written. What is compared is CPU time, after
a small table that every reader takes first, so without imports: the bytes of the file by second and core.

The last line is one JSON object: ``files``, for each its ``bytes``, ``rows``,
``convert_throughput_ratio_duckdb`` and ``total_throughput_ratio_duckdb`` (ours divided by DuckDB's, medians
of interleaved repeats; the total has the profile in it), ``mb_per_cpu_s`` by reader, and ``peak_mb``, the
memory of our process at its highest, everything included, with ``peak_mb_peers``.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import Table, interleaved, median, ratio

ROOT = Path(__file__).resolve().parents[1]
PEERS = ("duckdb", "pandas", "polars", "pyarrow")
CHUNK_BYTES = 64 << 20
"""Of our chunks, the template's MaxChunkBytes; a worker holds one at a time."""


def mixed(out: Any, rows: int) -> None:
    """Write keys, times, categories, floats with missing values, integers, booleans, short notes."""
    out.write("id,at,region,store,zip,x1,x2,x3,x4,count,member,note,label\n")
    regions = np.array(["north", "south", "east", "west", "centre", "isles", "coast", "hills"])
    words = np.array(["fine", "late", "broken", "refund", "thanks", "again", "ok", "box", "cold", "fast"])
    for start in range(0, rows, 50_000):
        draw = np.random.default_rng([1, start])
        size = min(50_000, rows - start)
        at = np.datetime_as_string((1577836800 + draw.integers(0, 126_230_400, size)).astype("datetime64[s]"))
        x = draw.normal(size=(size, 4))
        notes = words[draw.integers(0, len(words), (size, 3))]
        columns = [
            *(range(start, start + size), at, regions[draw.integers(0, 8, size)]),
            [f"S{store:05d}" for store in draw.integers(0, 5000, size)],
            [f"{code:05d}" for code in draw.integers(501, 99951, size)],
            *([f"{value:.4f}" for value in x[:, column]] for column in (0, 1)),
            [
                "" if gone else f"{value:.4f}"
                for value, gone in zip(x[:, 2], draw.random(size) < 0.1, strict=True)
            ],
            [f"{np.exp(value):.2f}" for value in x[:, 3]],
            draw.poisson(40, size),
            np.where(draw.random(size) < 0.3, "yes", "no"),
            [" ".join(note) for note in notes],
            (draw.random(size) < 0.3).astype(int),
        ]
        out.writelines(",".join(map(str, row)) + "\n" for row in zip(*columns, strict=True))


def wide(out: Any, rows: int) -> None:
    """Write 500 columns: 350 of floats, 100 of integers, 49 of categories, and the label."""
    out.write(",".join(f"f{number}" for number in range(499)) + ",label\n")
    for start in range(0, rows, 1000):
        draw = np.random.default_rng([2, start])
        size = min(1000, rows - start)
        floats, whole = draw.normal(size=(size, 350)), draw.integers(0, 100_000, (size, 100))
        levels = draw.integers(0, 12, (size, 49))
        for row in range(size):
            cells = [f"{value:.4f}" for value in floats[row]]
            cells += map(str, whole[row])
            cells += (f"level {level}" for level in levels[row])
            out.write(",".join(cells) + f",{row % 3 == 0:d}\n")


def text(out: Any, rows: int) -> None:
    """Write reviews of some thirty words; a third are quoted, with commas, quotes and a line break."""
    out.write("id,title,body,author,stars\n")
    draw = np.random.default_rng(3)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyzäé"))
    words = ["".join(draw.choice(letters, size)) for size in draw.integers(2, 11, 5000)]
    for start in range(0, rows, 10_000):
        size = min(10_000, rows - start)
        lengths = draw.integers(10, 50, size)
        picked = iter(np.minimum(draw.zipf(1.2, int(lengths.sum()) + 4 * size), 5000) - 1)
        for row in range(size):
            title = " ".join(words[next(picked)] for _ in range(3))
            body = " ".join(words[next(picked)] for _ in range(lengths[row]))
            if row % 3 == 0:
                body = '"' + body.replace(" ", ", ", 2).replace(" a", ' ""a""', 1) + '.\nBye"'
            author = f"{words[next(picked)]}{row % 977}@example.org"
            out.write(f"r{start + row},{title},{body},{author},{row % 5 + 1}\n")


FILES: dict[str, tuple[Callable[[Any, int], None], int]] = {
    "mixed": (mixed, 1_000_000),
    "wide": (wide, 25_000),
    "text": (text, 250_000),
}


def ours(file: Path, out: Path) -> dict[str, Any]:
    """Take a file through both passes, chunk by chunk, as the workers do."""
    from millrace.contracts import Layout, Spec, decode, encode
    from millrace.csvfile import HEAD_BYTES, find_chunks, sniff
    from millrace.features.blocks import to_parquet, write_block
    from millrace.features.columnar import convert_bytes
    from millrace.profile import Profile, decide_schema, merge, profile_bytes

    size = file.stat().st_size
    source = os.open(file, os.O_RDONLY)

    def read(start: int, end: int) -> bytes:
        return os.pread(source, end - start, start)

    sniffed = sniff(read(0, HEAD_BYTES), complete=size <= HEAD_BYTES)
    found = find_chunks(read, size, sniffed.dialect, CHUNK_BYTES)
    layout = Layout(
        *("bucket", "key", "", size, found.dialect, sniffed.names, found.chunks),
        notes=sniffed.notes + found.notes,
    )
    clock = [(time.process_time(), time.perf_counter())]
    parts = [
        json.dumps(encode(profile_bytes(read(chunk.start, chunk.end), layout, chunk)[0]))
        for chunk in layout.chunks
    ]
    schema = decide_schema(merge(decode(Profile, json.loads(part)) for part in parts), layout, Spec())
    clock.append((time.process_time(), time.perf_counter()))
    rows = 0
    for chunk in layout.chunks:
        converted = convert_bytes(read(chunk.start, chunk.end), schema, layout, chunk)
        table = converted.table
        rows += len(table) + len(converted.rejects)
        block = write_block(schema, table.columns, table.target, table.record)
        (out / f"{chunk.number}.npz").write_bytes(block)
        (out / f"{chunk.number}.parquet").write_bytes(to_parquet(converted, schema))
    clock.append((time.process_time(), time.perf_counter()))
    os.close(source)
    (start, wall), (profiled, _), (end, wall_end) = clock
    return {
        "profile_s": profiled - start,
        "convert_s": end - profiled,
        "cpu_s": end - start,
        "wall_s": wall_end - wall,
        "rows": rows,
        "chunks": len(layout.chunks),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def head_of(file: Path) -> Path:
    """Return the table of a few rows that every reader takes first: what is imported late is there then."""
    return file.with_name(f"head-{file.name}")


def measured(reader: str, file: Path, out: Path) -> dict[str, Any]:
    """Run a reader in a process of its own."""
    if reader == "ours":
        command = [sys.executable, "-m", "benchmarks.ingest", "--ours", str(file), str(out)]
    else:
        python = ROOT / ".tools" / "peer-ingest" / "bin" / "python"
        program = ROOT / "benchmarks" / "peers" / "ingest.py"
        command = [
            str(python),
            str(program),
            reader,
            str(head_of(file)),
            str(file),
            str(out / "peer.parquet"),
        ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{reader} failed on {file.name}:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def compared(file: Path, out: Path, repeats: int) -> dict[str, Any]:
    """Measure every reader on a file."""
    readers = ("ours", *PEERS)
    found = interleaved(
        {reader: (repeats, functools.partial(measured, reader, file, out)) for reader in readers}
    )
    size_mb = file.stat().st_size / 1e6
    duckdb = [one["cpu_s"] for one in found["duckdb"]]
    passes = {name: [one[name] for one in found["ours"]] for name in ("profile_s", "convert_s", "cpu_s")}
    speeds = {reader: size_mb / median(one["cpu_s"] for one in found[reader]) for reader in PEERS}
    for name, label in (("profile_s", "profile"), ("convert_s", "convert"), ("cpu_s", "total")):
        speeds[label] = size_mb / median(passes[name])
    return {
        "bytes": file.stat().st_size,
        "rows": found["ours"][0]["rows"],
        "chunks": found["ours"][0]["chunks"],
        # Throughput is the reciprocal of time.
        "convert_throughput_ratio_duckdb": ratio(duckdb, passes["convert_s"]),
        "total_throughput_ratio_duckdb": ratio(duckdb, passes["cpu_s"]),
        "mb_per_cpu_s": {name: round(speed, 1) for name, speed in speeds.items()},
        "peak_mb": max(one["peak_mb"] for one in found["ours"]),
        "peak_mb_peers": {reader: max(one["peak_mb"] for one in found[reader]) for reader in PEERS},
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", choices=list(FILES), action="append", help="only this one")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="the smallest run that says something")
    parser.add_argument("--ours", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        file, out = arguments.ours
        ours(head_of(file), out)
        print(json.dumps(ours(file, out)))
        return 0
    if arguments.quick:
        arguments.scale, arguments.repeats = 0.1, 1
    table = Table("file", "MB", *PEERS, "profile", "convert", "total", "peak MB")
    files = {}
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        for name in arguments.file or FILES:
            write, rows = FILES[name]
            file = Path(folder) / f"{name}.csv"
            for path, count in ((head_of(file), 200), (file, int(rows * arguments.scale))):
                with path.open("w", encoding="utf-8", newline="") as out:
                    write(out, count)
            files[name] = compared(file, Path(folder), arguments.repeats)
            speeds = files[name]["mb_per_cpu_s"]
            table.add(name, round(files[name]["bytes"] / 1e6), *speeds.values(), files[name]["peak_mb"])
    table.print("MB of CSV by second and core")
    print(json.dumps({"benchmark": "ingest", "peer": "DuckDB, one thread", "files": files}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
