"""Compiles what becomes of categories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from millrace.compiler.common import Arrays, Step, expect, missing, not_covered
from millrace.errors import BadInput

__all__ = ["ENCODERS"]


def _categories(encoder: Any) -> list[list[str | float | int | None]]:
    """Return the categories of each input; null stands for the missing one."""
    result = []
    for categories in encoder.categories_:
        items = [item.item() if isinstance(item, np.generic) else item for item in categories.tolist()]
        if not all(item is None or isinstance(item, (str, float, int)) for item in items):
            raise not_covered(f"{type(encoder).__name__} with categories that are neither texts nor numbers")
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
    if encoder.handle_unknown == "error":
        raise _refuses_unknown(encoder, "ignore")
    categories = _categories(encoder)
    positions = _positions(encoder, categories)
    dropped = encoder._drop_idx_after_grouping
    codes: list[list[int] | None] = []
    unknown = []
    for j, items in enumerate(categories):
        # Unseen values join the rare ones where there are any.
        grouped = encoder.handle_unknown != "ignore" and positions[j] is not None
        outputs = positions[j] or list(range(len(items)))
        group = max(outputs) if grouped else -1
        drop = None if dropped is None else dropped[j]
        if drop is not None:
            group = _without(group, int(drop))
            outputs = [_without(output, int(drop)) for output in outputs]
        # What goes where unseen values go need not be listed.
        listed = [(item, output) for item, output in zip(items, outputs, strict=True) if output != group]
        categories[j] = [item for item, _ in listed]
        in_order = [output for _, output in listed] == list(range(len(listed)))
        codes.append(None if in_order else [output for _, output in listed])
        unknown.append(group)
    return [
        {
            "kind": "one-hot",
            "categories": categories,
            "codes": codes,
            "widths": list(encoder._n_features_outs),
            "unknown": unknown,
        }
    ]


def _without(output: int, drop: int) -> int:
    """Return the output once another one is taken out; -1 for that one."""
    return -1 if output == drop else output - (output > drop)


def _refuses_unknown(encoder: Any, instead: str) -> BadInput:
    remedy = f"Set handle_unknown={instead!r}: a model in service meets values that training never saw."
    return not_covered(f"{type(encoder).__name__}(handle_unknown='error')", remedy)


def _ordinal_encoder(encoder: Any, arrays: Arrays) -> list[Step]:
    if encoder.handle_unknown == "error":
        raise _refuses_unknown(encoder, "use_encoded_value")
    expect(encoder, dtype=(np.float64,))
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


def _target_encoder(encoder: Any, arrays: Arrays) -> list[Step]:
    categories = _categories(encoder)
    means = np.atleast_1d(encoder.target_mean_)
    outputs = len(means) if encoder.target_type_ == "multiclass" else 1
    # For each input a column of numbers for each output, with the target's mean for unseen values below.
    rows = []
    for j in range(len(categories)):
        found = np.column_stack(encoder.encodings_[j * outputs : (j + 1) * outputs])
        rows.append(np.vstack([found, means]))
    values = arrays.floats(np.vstack(rows))
    return [{"kind": "lookup", "categories": categories, "outputs": outputs, "values": values}]


ENCODERS: dict[str, Callable[[Any, Arrays], list[Step]]] = {
    "OneHotEncoder": _one_hot_encoder,
    "OrdinalEncoder": _ordinal_encoder,
    "TargetEncoder": _target_encoder,
}
