"""What the compilers of encoders and estimators share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from millrace.errors import BadInput

__all__ = ["Arrays", "Node", "Step", "expect", "missing", "name_of", "narrow", "not_covered"]

Step = dict[str, Any]
"""One encoder of a plan."""
Node = dict[str, Any]
"""An estimator of a plan with the encoders that it puts before its computation, and its link."""


class Arrays:
    """Collects the arrays of a plan; encoders and estimators name them by index."""

    def __init__(self) -> None:
        self.items: list[NDArray[Any]] = []

    def floats(self, values: ArrayLike) -> int:
        """Add float64 numbers, flattened, and return their index."""
        return self.add(np.asarray(values, dtype=np.float64))

    def add(self, values: NDArray[Any]) -> int:
        """Add an array of a type that plans hold, flattened, and return its index."""
        self.items.append(np.ascontiguousarray(values).ravel())
        return len(self.items) - 1


def narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Return non-negative integers in the narrowest type that plans hold."""
    highest = int(values.max(initial=0))
    for kind in (np.uint8, np.uint16, np.int32):
        if highest <= np.iinfo(kind).max:
            return values.astype(kind)
    raise BadInput(
        f"The model has a table of {highest:,} entries",
        code="plan-too-large",
        remedy="Train with a smaller budget.",
    )


def missing(value: object) -> bool:
    """Return whether the value stands for a missing one: None or NaN."""
    return value is None or (isinstance(value, float) and value != value)


def name_of(fitted: object) -> str:
    """Return the class name under which a table knows the object, or a name that none knows.

    A class of somebody else that bears a known name is not what we know.
    """
    kind = type(fitted)
    trusted = kind.__module__.partition(".")[0] in ("sklearn", "millrace")
    return kind.__name__ if trusted else f"{kind.__module__}.{kind.__qualname__}"


def not_covered(
    what: str, remedy: str = "Train without it: only what is served exactly may be trained."
) -> BadInput:
    """Return the refusal of something that plans cannot express."""
    return BadInput(
        f"{what} cannot be compiled to a scoring plan",
        code="estimator-not-covered",
        remedy=remedy,
    )


def expect(transformer: Any, **parameters: Sequence[Any]) -> None:
    """Refuse parameters whose effect the plan does not know."""
    for name, covered in parameters.items():
        value = getattr(transformer, name)
        if not any(value is item or (type(value) is type(item) and value == item) for item in covered):
            raise not_covered(f"{type(transformer).__name__}({name}={value!r:.60})")
