"""Every parameter of every covered transformer is expressed in the plan, done with after the fit, or refused.

A release of scikit-learn that brings a new parameter fails here, until somebody has looked at what it does.
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from millrace.compiler.common import Arrays
from millrace.compiler.encoders import ENCODERS, compile_steps
from millrace.errors import BadInput
from tests import pipelines

_TEXTS = "strip_accents lowercase preprocessor analyzer stop_words token_pattern ngram_range binary"
_TEXTS_REFUSED: dict[str, Any] = {
    "input": "filename",
    "strip_accents": str.lower,
    "preprocessor": str.lower,
    "tokenizer": str.split,
    "analyzer": str.split,
    "token_pattern": r"\w+",
    "ngram_range": (1, 99),
    "dtype": np.float32,
}

EXPRESSED = {
    "Pipeline": "steps",
    "ColumnTransformer": "transformers remainder",
    "FeatureUnion": "transformer_list",
    "SimpleImputer": "missing_values strategy fill_value add_indicator keep_empty_features",
    "MissingIndicator": "missing_values features",
    "StandardScaler": "with_mean with_std",
    "RobustScaler": "with_centering with_scaling",
    "MaxAbsScaler": "clip",
    "MinMaxScaler": "feature_range clip",
    "PowerTransformer": "method standardize",
    "QuantileTransformer": "output_distribution",
    "FunctionTransformer": "func",
    "Normalizer": "norm",
    "Binarizer": "threshold",
    "KBinsDiscretizer": "encode",
    "PolynomialFeatures": "degree interaction_only include_bias",
    "OneHotEncoder": "categories drop handle_unknown min_frequency max_categories",
    "OrdinalEncoder": (
        "categories handle_unknown unknown_value encoded_missing_value min_frequency max_categories"
    ),
    "TargetEncoder": "categories target_type",
    "TfidfVectorizer": f"{_TEXTS} vocabulary norm use_idf sublinear_tf",
    "CountVectorizer": f"{_TEXTS} vocabulary",
    "HashingVectorizer": f"{_TEXTS} n_features norm alternate_sign",
    "FeatureHasher": "n_features input_type alternate_sign",
    "TfidfTransformer": "norm use_idf sublinear_tf",
    "TimeParts": "parts cycles",
    "TimeDifferences": "",
}
"""What the plan says of a parameter's value, or of what was learned under it."""
IRRELEVANT = {
    # How the fit goes, how the output is held and named, and what only bytes, sparse matrices or the way
    # back need.
    "Pipeline": "transform_input memory verbose",
    "ColumnTransformer": "sparse_threshold n_jobs verbose verbose_feature_names_out",
    "FeatureUnion": "n_jobs verbose verbose_feature_names_out",
    "GenericUnivariateSelect": "score_func mode param",
    "RFE": "estimator n_features_to_select step verbose importance_getter",
    "RFECV": "estimator step min_features_to_select cv scoring verbose n_jobs importance_getter",
    "SelectFdr": "score_func alpha",
    "SelectFpr": "score_func alpha",
    "SelectFromModel": "estimator threshold prefit norm_order max_features importance_getter",
    "SelectFwe": "score_func alpha",
    "SelectKBest": "score_func k",
    "SelectPercentile": "score_func percentile",
    "SequentialFeatureSelector": "estimator n_features_to_select tol direction scoring cv n_jobs",
    "VarianceThreshold": "threshold",
    "SimpleImputer": "copy",
    "MissingIndicator": "sparse",
    "StandardScaler": "copy",
    "RobustScaler": "quantile_range copy unit_variance",
    "MaxAbsScaler": "copy",
    "MinMaxScaler": "copy",
    "PowerTransformer": "copy",
    "QuantileTransformer": "n_quantiles subsample random_state copy",
    "FunctionTransformer": (
        "inverse_func validate accept_sparse check_inverse feature_names_out inv_kw_args"
    ),
    "Normalizer": "copy",
    "Binarizer": "copy",
    "KBinsDiscretizer": "n_bins strategy quantile_method subsample random_state",
    "PolynomialFeatures": "order",
    "OneHotEncoder": "sparse_output dtype feature_name_combiner",
    "TargetEncoder": "smooth cv shuffle random_state",
    "TfidfVectorizer": "encoding decode_error max_df min_df max_features smooth_idf",
    "CountVectorizer": "encoding decode_error max_df min_df max_features",
    "HashingVectorizer": "encoding decode_error",
    "TfidfTransformer": "smooth_idf",
}
"""What makes no difference to a fitted transformer's answers."""
REFUSED: dict[str, dict[str, Any]] = {
    "ColumnTransformer": {"transformer_weights": {"part": 2.0}},
    "FeatureUnion": {"transformer_weights": {"a": 2.0}},
    "SimpleImputer": {"missing_values": -1.0},
    "MissingIndicator": {"missing_values": -1.0, "error_on_new": True},
    "QuantileTransformer": {"ignore_implicit_zeros": True},
    "FunctionTransformer": {"func": np.sinc, "kw_args": {"where": True}},
    "KBinsDiscretizer": {"dtype": np.float32},
    "OneHotEncoder": {"handle_unknown": "error"},
    "OrdinalEncoder": {"handle_unknown": "error", "dtype": np.float32},
    "TfidfVectorizer": _TEXTS_REFUSED | {"norm": "max"},
    "CountVectorizer": _TEXTS_REFUSED,
    "HashingVectorizer": _TEXTS_REFUSED | {"norm": "max", "n_features": 1 << 20},
    "FeatureHasher": {"input_type": "dict", "dtype": np.float32, "n_features": 1 << 20},
    "TfidfTransformer": {"norm": "max"},
}
"""A value of each parameter that plans do not express, if only some others."""


@functools.cache
def fitted(name: str) -> Any:
    frame = pipelines.table(300, 0)
    frame = frame.assign(full=pd.Series([note or "" for note in frame["note"]], dtype=object))
    features = clone(next(iter(pipelines.ENCODERS[name].values())))
    return features.fit(frame, pipelines.target(frame, "multiclass"))


def inside(transformer: Any) -> Iterator[Any]:
    """Yield the transformer and all that it holds."""
    yield transformer
    for members in ("transformers_", "steps", "transformer_list"):
        for _, part, *_ in getattr(transformer, members, ()):
            yield from inside(part)


def found(name: str, features: Any) -> Any:
    return next(part for part in inside(features) if type(part).__name__ == name)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_every_parameter_is_expressed_irrelevant_or_refused(name: str) -> None:
    parameters = set(inspect.signature(type(found(name, fitted(name)))).parameters)
    expressed, irrelevant = EXPRESSED.get(name, "").split(), IRRELEVANT.get(name, "").split()
    assert parameters == {*expressed, *irrelevant, *REFUSED.get(name, ())}
    assert not {*irrelevant} & {*expressed, *REFUSED.get(name, ())}


@pytest.mark.parametrize(
    ("name", "parameter"), [(name, parameter) for name in REFUSED for parameter in REFUSED[name]]
)
def test_a_value_that_plans_do_not_express_is_refused_by_name(name: str, parameter: str) -> None:
    features = copy.deepcopy(fitted(name))
    compile_steps(features, Arrays())
    setattr(found(name, features), parameter, REFUSED[name][parameter])
    with pytest.raises(BadInput) as refusal:
        compile_steps(features, Arrays())
    assert refusal.value.code == "estimator-not-covered"
    assert f"{name}({parameter}=" in str(refusal.value)
    assert refusal.value.remedy


def test_the_tables_name_no_other_class() -> None:
    assert set(EXPRESSED) | set(IRRELEVANT) | set(REFUSED) == set(ENCODERS)


def test_the_documentation_names_every_class() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/reference/transformers.md").read_text("utf-8")
    named = {name.split(".")[-1] for name in re.findall(r"`([\w.]+)`", page)}
    assert set(ENCODERS) <= named
