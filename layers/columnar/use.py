"""Use what the columnar layer carries: an array through Parquet and back."""

import importlib.metadata
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

table = pa.table({"x": np.arange(5.0), "y": ["a", None, "ü", "", "b"]})
file = io.BytesIO()
pq.write_table(table, file, compression="zstd")
assert pq.read_table(io.BytesIO(file.getvalue())).equals(table)

block = io.BytesIO()
np.savez(block, x=np.arange(3), y=np.array(["a", "b"]))
assert np.load(io.BytesIO(block.getvalue()), allow_pickle=False)["x"].sum() == 3
assert importlib.metadata.version("pyarrow") and importlib.metadata.version("numpy")
