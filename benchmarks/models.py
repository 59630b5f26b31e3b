"""The models that the benchmarks serve: one fitted pipeline each, in the form that each peer takes.

The pipelines are those of the project's own training (:class:`millrace.training.pipeline.Learner`) where it
has them, and the same features under another estimator where it has not. All learn ``examples/diamonds``:
53,940 rows of six numbers and three categories; regression of ``price``, classification of ``cut`` in five
classes. Fitted pipelines are kept in ``.build/bench`` until what made them changes; plans are compiled anew.
"""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeRegressor

from millrace import compiler
from millrace.compiler.onnx import export
from millrace.contracts import Schema, Spec
from millrace.errors import BadInput
from millrace.features.candidates import Family
from millrace.features.limits import LIMITS
from millrace.features.plan import feature_plan
from millrace.training.encoders import build_features, learnable
from millrace.training.frame import to_frame
from millrace.training.pipeline import Learner, Rows
from tests.learning import table_of

__all__ = ["MODELS", "Data", "Model", "check", "difference", "models"]

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / ".build" / "bench" / "models"
EXAMPLE = ROOT / "examples" / "diamonds" / "diamonds.csv"
SHAPING = (
    *("training/pipeline.py", "training/estimators.py", "training/encoders.py"),
    *("features/candidates.py", "features/limits.py", "features/plan.py"),
)
"""Modules that decide what a fit is; a change of one fits all models anew."""
FEW = 2_000
"""Rows that models which keep their training rows learn from: a plan carries all of them."""


@dataclass(frozen=True)
class Data:
    """The example under one target, its rows shuffled; ``columns`` as a plan takes them."""

    schema: Schema
    columns: dict[str, NDArray[Any]]
    target: NDArray[Any]
    record: NDArray[np.int64]

    @classmethod
    @functools.cache
    def of(cls, target: str) -> Data:
        """Read the example."""
        table, schema = table_of(EXAMPLE.read_bytes(), Spec(target=target))
        order = np.random.default_rng(0).permutation(len(table))
        columns = {name: values[order] for name, values in table.columns.items()}
        return cls(schema, columns, table.target[order], table.record[order])

    def frame(self, rows: int | None = None) -> Any:
        """Return the first rows as the data frame that training uses."""
        return to_frame(self, self.schema).iloc[:rows]  # type: ignore[arg-type]

    def rows(self, count: int) -> list[dict[str, Any]]:
        """Return the first rows as a caller of ``POST /predict`` sends them."""
        lists = {name: values[:count].tolist() for name, values in self.columns.items()}
        return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]

    def repeated(self, count: int) -> dict[str, NDArray[Any]]:
        """Return ``count`` rows, the example over and over, as columns."""
        at = np.arange(count) % len(self.target)
        return {name: values[at] for name, values in self.columns.items()}


@dataclass(frozen=True)
class Recipe:
    """How a model is fitted: as a run fits ``candidate``, or ``estimator`` on the features of ``family``."""

    target: str
    candidate: str = ""
    family: Family = "linear"
    estimator: BaseEstimator | None = None
    rows: int | None = None

    def fit(self) -> Pipeline:
        """Fit to the example."""
        data = Data.of(self.target)
        if self.candidate:
            learner = Learner(self.candidate, data.schema, LIMITS["standard"], seed=0)
            return learner.pipeline(Rows(data.frame(), data.target, data.record))
        frame, target, classes = data.frame(self.rows), data.target[: self.rows], len(data.schema.classes)
        plan = learnable(feature_plan(data.schema, self.family), frame, target, classes)
        features = build_features(plan, classify=bool(classes))
        return Pipeline([("features", features), ("estimator", self.estimator)]).fit(frame, target)


def _plain(target: str, family: Family, estimator: BaseEstimator, rows: int | None = None) -> Recipe:
    return Recipe(target, family=family, estimator=estimator, rows=rows)


MODELS: dict[str, Recipe] = {
    "ridge": Recipe("price", "linear"),
    "logistic": Recipe("cut", "linear"),
    "gaussian_nb": _plain("cut", "linear", GaussianNB()),
    "decision_tree": _plain("price", "forest", DecisionTreeRegressor(min_samples_leaf=5, random_state=0)),
    "random_forest": Recipe("price", "forest"),
    "random_forest_classes": _plain(
        "cut", "forest", RandomForestClassifier(100, max_leaf_nodes=1000, random_state=0)
    ),
    "extra_trees": Recipe("price", "extra_trees"),
    "gradient_boosting": _plain(
        "price", "forest", GradientBoostingRegressor(n_estimators=100, max_depth=5, random_state=0)
    ),
    "hist_gradient_boosting": Recipe("price", "boosted_trees"),
    "hist_gradient_boosting_codes": _plain(
        "price", "boosted", HistGradientBoostingRegressor(max_iter=170, random_state=0)
    ),
    "hist_gradient_boosting_classes": _plain(
        "cut", "boosted", HistGradientBoostingClassifier(max_iter=60, random_state=0)
    ),
    "svm_rbf": _plain("price", "linear", SVR(C=1000.0), FEW),
    "knn": _plain("price", "linear", KNeighborsRegressor(10, algorithm="kd_tree"), FEW),
    "mlp": _plain("price", "linear", MLPRegressor(hidden_layer_sizes=(64, 32), max_iter=10, random_state=0)),
}
"""Every estimator that training or the compiler knows belongs here."""


@dataclass(frozen=True)
class Model:
    """A fitted pipeline.

    Attributes
    ----------
    name : str
        A key of :data:`MODELS`.
    folder : Path
        Holds ``model.joblib`` and, after :func:`models`, ``pipeline.onnx`` and ``estimator.onnx``.
    data : Data
        What it learned from.
    plan : bytes or None
        The scoring plan; ``None`` when the compiler does not cover the pipeline.
    refused : str
        What the compiler said then.
    onnx : dict
        What the conversion said by file: ``null`` when it went well, else the error.
    exported : bool
        Whether ``pipeline.onnx`` is our own export, because skl2onnx could not convert the pipeline.
    """

    name: str
    folder: Path
    data: Data
    plan: bytes | None
    refused: str
    onnx: dict[str, str | None]
    exported: bool = False

    @functools.cached_property
    def pipeline(self) -> Pipeline:
        """The pipeline."""
        return joblib.load(self.folder / "model.joblib")

    def expected(self, count: int) -> NDArray[np.float64]:
        """Return what scikit-learn answers to the first rows: predictions, or probabilities by class."""
        frame = self.data.frame(count)
        classify = self.data.schema.task != "regression"
        return np.asarray(self.pipeline.predict_proba(frame) if classify else self.pipeline.predict(frame))


def models(names: Iterable[str], *, onnx: bool = True) -> list[Model]:
    """Fit, compile and convert what is not there yet.

    Parameters
    ----------
    names : iterable of str
        Keys of :data:`MODELS`.
    onnx : bool
        Whether to convert to ONNX too, which needs the environment ``.tools/peers``.
    """
    names = list(names)
    for name in names:
        _fitted(name)
    if onnx:
        _convert([KEPT / name for name in names])
    return [_model(name, onnx) for name in names]


def check(who: str, answer: dict[str, Any], model: Model, rows: int) -> float:
    """Return how far an answer of ``/predict`` is from scikit-learn's, relative to it.

    Everybody but onnxruntime must answer as scikit-learn does. skl2onnx computes in single precision, and its
    conversion of some estimators is wrong altogether: that is told, not refused, as it costs the same time.
    """
    found = answer.get("probabilities") or answer["predictions"]
    values = np.array(
        [list(one.values()) if isinstance(one, dict) else one for one in found], dtype=np.float64
    )
    worst = difference(values, model.expected(rows))
    if worst > 1e-9 and who != "onnxruntime":
        raise SystemExit(f"{who}: an answer of {model.name} is off by {worst:.3g}")
    return worst


def difference(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Return the largest difference, relative to what is expected where that is over 1."""
    return float(np.max(np.abs(found - expected) / np.maximum(1.0, np.abs(expected))))


def _fitted(name: str) -> None:
    folder = KEPT / name
    recipe = MODELS[name]
    key = _key(
        [EXAMPLE, *(ROOT / "lib" / "millrace" / name for name in SHAPING)], f"{sklearn.__version__} {recipe}"
    )
    if (folder / "model.key").is_file() and (folder / "model.key").read_text() == key:
        return
    print(f"fitting {name}", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(recipe.fit(), folder / "model.joblib")
    (folder / "model.key").write_text(key)


def _model(name: str, onnx: bool) -> Model:
    folder, data = KEPT / name, Data.of(MODELS[name].target)
    plan, refused = None, ""
    try:
        plan = compiler.compile(
            joblib.load(folder / "model.joblib"), schema=data.schema, model=name.replace("_", "-")
        )
    except BadInput as error:
        refused = str(error)
    files = json.loads((folder / "onnx.json").read_text())["files"] if onnx else {}
    exported = plan is not None and files.get("pipeline.onnx") is not None
    if exported:
        (folder / "pipeline.onnx").write_bytes(export(plan))
        files["pipeline.onnx"] = None
    return Model(name, folder, data, plan, refused, files, exported)


def _convert(folders: list[Path]) -> None:
    """Convert to ONNX in the peers' environment, whose libraries are not ours."""
    program = ROOT / "benchmarks" / "peers" / "convert.py"
    todo = []
    for folder in folders:
        key = _key([program, ROOT / "locks" / "peers.txt", folder / "model.joblib"])
        note = folder / "onnx.json"
        if not note.is_file() or json.loads(note.read_text())["key"] != key:
            todo += [str(folder), key]
    if todo:
        python = ROOT / ".tools" / "peers" / "bin" / "python"
        subprocess.run([python, program, *todo], check=True, stdout=sys.stderr)


def _key(paths: Iterable[Path], text: str = "") -> str:
    digest = hashlib.sha256(text.encode())
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
