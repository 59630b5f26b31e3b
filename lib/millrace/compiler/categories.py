"""Compiles what becomes of categories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace.compiler.common import Arrays, Step, expect, missing, not_covered

__all__ = ["ENCODERS"]


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
    expect(encoder, drop=(None,), handle_unknown=("ignore", "infrequent_if_exist", "warn"))
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
    expect(encoder, handle_unknown=("use_encoded_value",))
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


ENCODERS: dict[str, Callable[[Any, Arrays], list[Step]]] = {
    "OneHotEncoder": _one_hot_encoder,
    "OrdinalEncoder": _ordinal_encoder,
}
