"""Use what the plotting layer carries: draw a figure as SVG without a display."""

import importlib.metadata
import io

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np

figure, axes = plt.subplots()
axes.plot(np.arange(3), label="α × β")
axes.imshow(np.eye(3))
axes.set_title("figure")
axes.legend()
drawing = io.StringIO()
figure.savefig(drawing, format="svg", bbox_inches="tight")
assert drawing.getvalue().rstrip().endswith("</svg>")
assert importlib.metadata.version("matplotlib")
