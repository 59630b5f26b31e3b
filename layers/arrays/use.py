"""Use what the arrays layer carries."""

import importlib.metadata

import numpy as np

assert np.array([[1.5, 2.0]]).T.astype(np.float32).tolist() == [[1.5], [2.0]]
assert np.linalg.norm(np.array([3.0, 4.0])) == 5.0
assert importlib.metadata.version("numpy")
