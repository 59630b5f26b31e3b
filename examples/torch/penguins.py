"""Train a small network on the penguins with PyTorch and write what `millrace register` takes.

Usage: ``python penguins.py PENGUINS.CSV FOLDER``, in an environment with torch, onnx and onnxscript. FOLDER
receives ``penguins.onnx``, its ``signature.json``, and ``expected.json``: rows with PyTorch's own answers.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import torch

NUMBERS = ["Culmen Length (mm)", "Culmen Depth (mm)", "Flipper Length (mm)", "Body Mass (g)"]
EXPECTED_ROWS = 20


class Network(torch.nn.Module):
    """Standardises its inputs and returns logits."""

    def __init__(self, mean: torch.Tensor, scale: torch.Tensor, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(len(mean), 16), torch.nn.ReLU(), torch.nn.Linear(16, classes)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits, rows x classes."""
        logits: torch.Tensor = self.layers((features - self.mean) / self.scale)
        return logits


def main(table: Path, folder: Path) -> None:
    """Train, export, and write down what PyTorch answers."""
    torch.manual_seed(0)
    with table.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if all(row[name] for name in NUMBERS)]
    classes = sorted({row["Species"] for row in rows})
    features = torch.tensor([[float(row[name]) for name in NUMBERS] for row in rows])
    labels = torch.tensor([classes.index(row["Species"]) for row in rows])
    network = Network(features.mean(0), features.std(0), len(classes))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(features), labels).backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        shares = network(features).softmax(1)
    accuracy = (shares.argmax(1) == labels).float().mean().item()
    print(f"{len(rows)} rows, training accuracy {accuracy:.3f}")
    folder.mkdir(parents=True, exist_ok=True)
    program = torch.onnx.export(
        network,
        (features[:2],),
        input_names=["features"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("rows")},),
        dynamo=True,
    )
    model = program.model_proto
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]  # the exporter writes stack traces there, with this computer's paths
    (folder / "penguins.onnx").write_bytes(model.SerializeToString(deterministic=True))
    signature = {
        "task": "multiclass",
        "target": "Species",
        "classes": classes,
        "fields": [
            {
                "name": name,
                "type": "number",
                "minimum": features[:, i].min().item(),
                "maximum": features[:, i].max().item(),
            }
            for i, name in enumerate(NUMBERS)
        ],
        "inputs": {"features": NUMBERS},
        "output": {"name": "logits", "as": "logits"},
    }
    (folder / "signature.json").write_text(json.dumps(signature, indent=1) + "\n", "utf-8")
    step = len(rows) // EXPECTED_ROWS
    expected = [
        {"row": {name: float(rows[i][name]) for name in NUMBERS}, "probabilities": shares[i].tolist()}
        for i in range(0, len(rows), step)
    ]
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
