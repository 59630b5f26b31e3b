"""Convert a CSV file to Parquet: ``ingest.py READER HEAD FILE OUT``, in the peers' environment.

The last line is one JSON object: ``cpu_s`` and ``wall_s`` of the conversion, and the process's
``peak_mb``. ``HEAD``, a few of its rows, is converted first: imports do not count.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time

for threads in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[threads] = "1"


def duckdb(file: str, out: str) -> None:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    connection.execute(f"COPY (SELECT * FROM read_csv('{file}')) TO '{out}' (FORMAT parquet)")


def pandas(file: str, out: str) -> None:
    import pandas
    import pyarrow

    pyarrow.set_cpu_count(1)
    pandas.read_csv(file).to_parquet(out)


def polars(file: str, out: str) -> None:
    import polars

    polars.read_csv(file, infer_schema_length=10_000, try_parse_dates=True).write_parquet(out)


def pyarrow(file: str, out: str) -> None:
    import pyarrow
    from pyarrow import csv, parquet

    pyarrow.set_cpu_count(1)
    table = csv.read_csv(file, csv.ReadOptions(use_threads=False), csv.ParseOptions(newlines_in_values=True))
    parquet.write_table(table, out)


if __name__ == "__main__":
    reader, head, file, out = sys.argv[1:]
    convert = {"duckdb": duckdb, "pandas": pandas, "polars": polars, "pyarrow": pyarrow}[reader]
    convert(head, out)
    cpu, wall = time.process_time(), time.perf_counter()
    convert(file, out)
    cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_s": cpu_s, "wall_s": wall_s, "peak_mb": round(peak_mb)}))
