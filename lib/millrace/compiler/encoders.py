"""Compiles fitted transformers: one function each, by class name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from millrace.compiler.common import Arrays, missing, name_of, not_covered
from millrace.plan.kinds import WORD_PATTERN

__all__ = ["ENCODERS", "compile_steps"]

Step = dict[str, Any]


def compile_steps(transformer: Any, arrays: Arrays) -> list[Step]:
    """Compile a fitted transformer into the encoders that do the same.

    Parameters
    ----------
    transformer : transformer, "passthrough" or None
        Fitted.
    arrays : Arrays
        Receives the encoders' arrays.

    Raises
    ------
    BadInput
        ``estimator-not-covered``, naming the class or its parameter.
    """
    if transformer is None or transformer == "passthrough":
        return []
    name = name_of(transformer)
    if name not in ENCODERS:
        raise not_covered(name)
    return ENCODERS[name](transformer, arrays)


def _expect(transformer: Any, **parameters: Sequence[Any]) -> None:
    """Refuse parameters whose effect the plan does not know."""
    for name, covered in parameters.items():
        value = getattr(transformer, name)
        if not any(value is item or (type(value) is type(item) and value == item) for item in covered):
            raise not_covered(f"{type(transformer).__name__}({name}={value!r:.60})")


def _pipeline(pipeline: Any, arrays: Arrays) -> list[Step]:
    return [step for _, transformer in pipeline.steps for step in compile_steps(transformer, arrays)]


def _column_transformer(transformer: Any, arrays: Arrays) -> list[Step]:
    _expect(transformer, transformer_weights=(None,))
    names = list(getattr(transformer, "feature_names_in_", ()))
    width = transformer.n_features_in_
    branches = []
    for _, part, columns in transformer.transformers_:
        inputs = _indices(columns, names, width)
        if inputs and not (isinstance(part, str) and part == "drop"):
            branches.append({"inputs": inputs, "steps": compile_steps(part, arrays)})
    return [{"kind": "columns", "branches": branches}]


def _indices(columns: Any, names: list[str], width: int) -> list[int]:
    """Return the positions that scikit-learn's column selection means."""
    if isinstance(columns, str):
        return [names.index(columns)]
    if isinstance(columns, slice):
        first = names.index(columns.start) if isinstance(columns.start, str) else columns.start
        # A slice of names includes its end.
        last = names.index(columns.stop) + 1 if isinstance(columns.stop, str) else columns.stop
        return list(range(width)[first : last : columns.step])
    if isinstance(columns, (int, np.integer)):
        return [range(width)[int(columns)]]
    items = list(columns)
    if items and all(isinstance(item, (bool, np.bool_)) for item in items):
        return [position for position, chosen in enumerate(items) if chosen]
    return [names.index(item) if isinstance(item, str) else range(width)[int(item)] for item in items]


def _function_transformer(transformer: Any, arrays: Arrays) -> list[Step]:
    _expect(transformer, func=(None,))
    return []


def _simple_imputer(imputer: Any, arrays: Arrays) -> list[Step]:
    marker = imputer.missing_values
    if not missing(marker):
        raise not_covered(f"SimpleImputer(missing_values={marker!r:.60})")
    fill: list[str | float | None] = []
    for value in imputer.statistics_.tolist():
        if missing(value) and not imputer.keep_empty_features:
            fill.append(None)  # all were missing in training: the column is left out
        elif isinstance(value, str):
            fill.append(value)
        elif isinstance(value, (int, float)) and math.isfinite(value):
            fill.append(float(value))
        else:
            raise not_covered(f"SimpleImputer with the value {value!r:.60}")
    return [
        {
            "kind": "impute",
            "fill": fill,
            "missing": "none" if marker is None else "nan",
            "indicators": imputer.indicator_.features_.tolist() if imputer.add_indicator else [],
        }
    ]


def _standard_scaler(scaler: Any, arrays: Arrays) -> list[Step]:
    return [
        {
            "kind": "scale",
            "mean": arrays.floats(scaler.mean_) if scaler.with_mean else None,
            "scale": arrays.floats(scaler.scale_) if scaler.with_std else None,
        }
    ]


def _categories(encoder: Any) -> list[list[str | float | int | None]]:
    """Return the categories of each input; null stands for the missing one."""
    result = []
    for categories in encoder.categories_:
        items = categories.tolist()
        if sum(map(missing, items)) > 1:
            raise not_covered(f"{type(encoder).__name__} with both None and NaN as categories")
        result.append([None if missing(item) else item for item in items])
    return result


def _positions(encoder: Any, categories: list[list[Any]]) -> list[list[int] | None]:
    """Return the position of each category among the frequent ones; the rare ones share the last.

    None where no category is rare.
    """
    rare_of = getattr(encoder, "infrequent_categories_", None) or [None] * len(categories)
    result: list[list[int] | None] = []
    for items, rare in zip(categories, rare_of, strict=True):
        if rare is None:
            result.append(None)
            continue
        group = {None if missing(item) else item for item in rare.tolist()}
        frequent = [item for item in items if item not in group]
        position = {item: i for i, item in enumerate(frequent)}
        result.append([position.get(item, len(frequent)) for item in items])
    return result


def _one_hot_encoder(encoder: Any, arrays: Arrays) -> list[Step]:
    _expect(encoder, drop=(None,), handle_unknown=("ignore", "infrequent_if_exist", "warn"))
    categories = _categories(encoder)
    codes = _positions(encoder, categories)
    widths = [
        len(items) if codes_ is None else max(codes_) + 1
        for items, codes_ in zip(categories, codes, strict=True)
    ]
    to_group = encoder.handle_unknown != "ignore"
    unknown = []
    for j, (width, codes_) in enumerate(zip(widths, codes, strict=True)):
        unknown.append(width - 1 if to_group and codes_ is not None else -1)
        if codes_ is not None and to_group:
            # Rare categories go where unseen ones go, so they need not be listed.
            listed = [
                (item, code) for item, code in zip(categories[j], codes_, strict=True) if code < width - 1
            ]
            categories[j], codes[j] = [item for item, _ in listed], [code for _, code in listed]
    return [
        {"kind": "one-hot", "categories": categories, "codes": codes, "widths": widths, "unknown": unknown}
    ]


def _ordinal_encoder(encoder: Any, arrays: Arrays) -> list[Step]:
    _expect(encoder, handle_unknown=("use_encoded_value",))
    categories = _categories(encoder)
    # Only NaN counts as missing here, has a code of its own and no place among the categories. None is a
    # category like any other to scikit-learn.
    placed = [[item for item in fitted.tolist() if item == item] for fitted in encoder.categories_]
    codes: list[list[float | None] | None] = []
    for items, known, positions in zip(categories, placed, _positions(encoder, placed), strict=True):
        if positions is None and len(known) == len(items):
            codes.append(None)
            continue
        numbers: list[float | None] = list(range(len(known)) if positions is None else positions)
        # NaN is always the last category.
        codes.append(numbers + [_number(encoder.encoded_missing_value)] * (len(items) - len(known)))
    return [
        {
            "kind": "ordinal",
            "categories": categories,
            "codes": codes,
            "unknown": _number(encoder.unknown_value),
        }
    ]


def _number(value: float) -> float | None:
    return None if value != value else float(value)


def _tfidf_vectorizer(vectorizer: Any, arrays: Arrays) -> list[Step]:
    from millrace.features.transformers import lower_text

    _expect(
        vectorizer,
        analyzer=("word",),
        ngram_range=((1, 1),),
        tokenizer=(None,),
        preprocessor=(None, lower_text),
        strip_accents=(None,),
        token_pattern=(WORD_PATTERN,),
        vocabulary=(None,),
        norm=("l2", None),
        sublinear_tf=(False,),
        dtype=(np.float64,),
    )
    terms = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    return [
        {
            "kind": "words",
            "terms": terms,
            "idf": arrays.floats(vectorizer.idf_) if vectorizer.use_idf else None,
            "lower": vectorizer.preprocessor is lower_text or bool(vectorizer.lowercase),
            "binary": bool(vectorizer.binary),
            "norm": vectorizer.norm is not None,
        }
    ]


def _time_parts(transformer: Any, arrays: Arrays) -> list[Step]:
    return [{"kind": "time-parts", "parts": list(transformer.parts)}]


ENCODERS: dict[str, Callable[[Any, Arrays], list[Step]]] = {
    "Pipeline": _pipeline,
    "ColumnTransformer": _column_transformer,
    "FunctionTransformer": _function_transformer,
    "SimpleImputer": _simple_imputer,
    "StandardScaler": _standard_scaler,
    "OneHotEncoder": _one_hot_encoder,
    "OrdinalEncoder": _ordinal_encoder,
    "TfidfVectorizer": _tfidf_vectorizer,
    "TimeParts": _time_parts,
}
"""By class name: ``(fitted transformer, arrays) -> encoders of the plan``."""
