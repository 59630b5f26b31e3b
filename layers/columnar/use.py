"""Use what the columnar layer carries: an array through Parquet and back, a file through Arrow's parser."""

import importlib.metadata
import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

table = pa.table({"x": np.arange(5.0), "y": ["a", None, "ü", "", "b"]})
file = io.BytesIO()
pq.write_table(table, file, compression="zstd")
assert pq.read_table(io.BytesIO(file.getvalue())).equals(table)

read = csv.read_csv(pa.BufferReader(b'a,"b"\n1.5,x\n'))
assert pc.binary_join_element_wise(pc.cast(read["a"], pa.string()), read["b"], "-").to_pylist() == ["1.5-x"]
assert read["b"].combine_chunks().dictionary_encode().indices.to_pylist() == [0]

block = io.BytesIO()
np.savez(block, x=np.arange(3), y=np.array(["a", "b"]))
assert np.load(io.BytesIO(block.getvalue()), allow_pickle=False)["x"].sum() == 3
assert importlib.metadata.version("pyarrow") and importlib.metadata.version("numpy")
