"""Benchmarks: each prints one JSON object as its last line, with our figures beside a peer's."""

import os

# Before anything loads OpenMP or BLAS: one thread each, for a fit as for what is measured.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"
