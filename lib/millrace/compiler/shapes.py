"""Compiles what bends, cuts and combines numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from millrace.compiler.common import Arrays, Step, expect, not_covered
from millrace.compiler.numbers import clip_step, scale_step
from millrace.plan.kinds import FUNCTIONS

__all__ = ["ENCODERS"]


def _power_transformer(transformer: Any, arrays: Arrays) -> list[Step]:
    steps = [{"kind": "power", "method": transformer.method, "lambdas": arrays.floats(transformer.lambdas_)}]
    if transformer.standardize:
        steps.append(scale_step(transformer._scaler.mean_, transformer._scaler.scale_, arrays))
    return steps


def _quantile_transformer(transformer: Any, arrays: Arrays) -> list[Step]:
    from scipy.stats import norm

    expect(transformer, ignore_implicit_zeros=(False,))
    if len(transformer.references_) < 2:
        raise not_covered("QuantileTransformer(n_quantiles=1)")
    if not np.isfinite(transformer.quantiles_).all():
        raise not_covered("QuantileTransformer of a column without values")
    normal = transformer.output_distribution == "normal"
    step = {
        "kind": "interpolate",
        "points": arrays.floats(transformer.quantiles_.T),
        "values": arrays.floats(transformer.references_),
        "output": "normal" if normal else "uniform",
    }
    if not normal:
        return [step]
    # The transformer's own bounds, which keep infinities out.
    bound = 1e-7 - np.spacing(1)
    return [step, clip_step(norm.ppf(bound), norm.ppf(1 - bound))]


def _function_transformer(transformer: Any, arrays: Arrays) -> list[Step]:
    if transformer.kw_args:
        raise not_covered(f"FunctionTransformer(kw_args={transformer.kw_args!r:.60})")
    if transformer.func is None:
        return []
    expect(transformer, func=[getattr(np, name) for name in FUNCTIONS])
    return [{"kind": "function", "name": transformer.func.__name__}]


def _normalizer(transformer: Any, arrays: Arrays) -> list[Step]:
    return [{"kind": "normalize", "norm": transformer.norm}]


def _bins(edges: list[Any], arrays: Arrays) -> Step:
    return {
        "kind": "bins",
        "edges": arrays.floats(np.concatenate(edges) if edges else []),
        "counts": [len(part) for part in edges],
    }


def _binarizer(transformer: Any, arrays: Arrays) -> list[Step]:
    # Above the threshold is at least the next number.
    edge = np.nextafter(float(transformer.threshold), np.inf)
    return [_bins([[edge]] * transformer.n_features_in_, arrays)]


def _bins_discretizer(transformer: Any, arrays: Arrays) -> list[Step]:
    expect(transformer, dtype=(None, np.float64))
    step = _bins([edges[1:-1] for edges in transformer.bin_edges_], arrays)
    if transformer.encode == "ordinal":
        return [step]
    bins = transformer.n_bins_.tolist()
    one_hot = {
        "kind": "one-hot",
        "categories": [list(range(count)) for count in bins],
        "codes": [None] * len(bins),
        "widths": bins,
        "unknown": [-1] * len(bins),
    }
    return [step, one_hot]


def _polynomial_features(transformer: Any, arrays: Arrays) -> list[Step]:
    terms = transformer._combinations(
        transformer.n_features_in_,
        transformer._min_degree,
        transformer._max_degree,
        transformer.interaction_only,
        transformer.include_bias,
    )
    # scikit-learn builds a product from the last input to the first.
    return [{"kind": "products", "terms": [list(reversed(term)) for term in terms]}]


ENCODERS: dict[str, Callable[[Any, Arrays], list[Step]]] = {
    "PowerTransformer": _power_transformer,
    "QuantileTransformer": _quantile_transformer,
    "FunctionTransformer": _function_transformer,
    "Normalizer": _normalizer,
    "Binarizer": _binarizer,
    "KBinsDiscretizer": _bins_discretizer,
    "PolynomialFeatures": _polynomial_features,
}
