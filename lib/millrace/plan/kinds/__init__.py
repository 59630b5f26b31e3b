"""What a plan may compute: the kinds of encoders and estimators, and what each one's members must be.

Kinds that belong together are a family, and a family is one module in each room that knows it: here its
members and their check, in ``scoring.rows`` and ``scoring.blocks`` its evaluation. A module is imported when
a plan uses a kind of it, so that a cold start pays for nothing else; :func:`of` finds it.

A row is a list of values, one for each field of the signature, and each encoder makes a list of a list.
``flow`` follows that: a string with one letter for each value, ``n`` for a float (NaN when missing) and
``s`` for a text (None when missing). The check runs once when a plan is read; the evaluators then trust it.

An encoder's check is called with ``(step, flow, arrays)`` and returns the flow behind it; an estimator's with
``(spec, width, arrays)``, and returns the number of its raw outputs.

The encoder ``columns`` holds the others together: ``branches``, each with ``inputs`` (indices) and ``steps``
(encoders), whose results stand side by side.

A **node** is an estimator with all that belongs to it: ``steps`` (encoders before it, or absent), its kind
with the members of that, and ``link``, which says what becomes of the raw outputs. The header's ``estimator``
is a node, and so are the members of the encoder ``predictions``, which puts estimators inside of others:
stacking, voting and calibration are nodes whose steps hold it. The compiler leaves no other encoder before
it there, but makes it one of the features.
"""

from __future__ import annotations

from millrace.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from millrace.plan.format import Arrays

__all__ = [
    "ENCODERS",
    "ESTIMATORS",
    "FUNCTIONS",
    "LINKS",
    "MASK_BITS",
    "MAX_DEPTH",
    "MAX_HASHES",
    "MAX_NGRAM",
    "MAX_WIDTH",
    "PAIR_LINKS",
    "SMALLEST_NORM",
    "TIME_PARTS",
    "VALUE_LINKS",
    "WORD_PATTERN",
    "array",
    "check",
    "declared",
    "fits",
    "indices",
    "is_number",
    "node",
    "of",
]

ENCODERS = {
    "impute": "numbers",
    "scale": "numbers",
    "affine": "numbers",
    "clip": "numbers",
    "power": "shapes",
    "interpolate": "shapes",
    "function": "shapes",
    "normalize": "shapes",
    "bins": "shapes",
    "products": "shapes",
    "one-hot": "categories",
    "ordinal": "categories",
    "lookup": "categories",
    "words": "texts",
    "hash": "texts",
    "weigh": "texts",
    "time-parts": "times",
    "predictions": "combine",
}
"""The family of each kind of encoder, ``columns`` aside."""
ESTIMATORS = {
    "linear": "linear",
    "constant": "linear",
    "trees": "trees",
    "inputs": "combine",
    "mean": "combine",
    "onnx": "onnx",
    "platt": "combine",
    "isotonic": "combine",
    "temperature": "combine",
    "kernel": "svm",
    "votes": "svm",
    "mlp": "mlp",
    "gaussian": "bayes",
    "neighbors": "neighbors",
}
"""The family of each kind of estimator."""
FUNCTIONS = (
    *("absolute", "sign", "negative", "reciprocal", "square", "sqrt", "cbrt", "floor", "ceil", "rint"),
    *("exp", "expm1", "log", "log2", "log10", "log1p"),
)
"""What may be applied to a number, by numpy's name; where one is not defined, numpy's answer holds."""
LINKS = (
    "identity",
    "exp",
    "expm1",
    "square",
    "probabilities",
    "logistic",
    "softmax",
    "posterior",
    "pair",
    "normalize",
    "shares",
    "one-vs-rest",
    "huber",
    "huber-one-vs-rest",
)
"""How raw outputs become the prediction.

``identity``, ``exp``, ``expm1``, ``square``
    As they are; e to it; e to it less 1; its square.
``probabilities``
    They are probabilities already.
``logistic``, ``pair``, ``huber``
    One output to two probabilities, the second being 1 / (1 + e^-x); x itself; (x + 1) / 2 between 0 and 1.
``softmax``
    Several to as many, e^x in proportion.
``posterior``
    As ``softmax``, computed as e^(x - log of the sum of e^x), which rounds where x is far from 0.
``normalize``, ``shares``
    Each divided by their sum; when that is 0, all are alike (``normalize``) or stay 0 (``shares``).
``one-vs-rest``, ``huber-one-vs-rest``
    Several to as many: each as ``logistic`` or ``huber`` makes its second probability, then ``normalize``.
"""
VALUE_LINKS = ("identity", "exp", "expm1", "square")
"""Links that make values, as a plan without classes has them; all others make probabilities."""
PAIR_LINKS = ("logistic", "pair", "huber")
"""Links that take one output and make two of it."""
MASK_BITS = 256
"""Bits of a set of categories; the last one stands for missing and unknown codes."""
SMALLEST_NORM = 2.220446049250313e-15
"""Ten times the distance of 1 to the next float64: scikit-learn takes a smaller norm for one of 0."""
TIME_PARTS = ("days", "year", "month", "day", "weekday", "day_of_year", "hour", "minute", "second")
WORD_PATTERN = r"(?u)\b\w\w+\b"
"""A word of a text. The pattern is not read from the file: one could be made that never ends."""
MAX_HASHES = 1 << 17
"""Most outputs of a hash: half of what a row may become, so that there is room for other columns."""
MAX_NGRAM = 32
"""Most words or characters in a row that count as one token."""
MAX_WIDTH = 1 << 18
"""Most values that a row may become."""
MAX_DEPTH = 16
"""Most branches and members inside of each other."""
_MAX_WORK = 1 << 22
"""Most values that all encoders of a plan together may make of a row."""


class _Arrays:
    """The arrays of a plan while it is checked.

    Each belongs to one member: taken once, it is gone. So nothing can be larger in memory than the file says.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.all = arrays
        self.left = set(range(len(arrays)))
        self.work = 0
        """Values that the encoders checked so far make of a row."""


def of(room: str, families: dict[str, str], kind: str) -> Any:
    """Return what a room has for a kind: ``KINDS[kind]`` of the module of its family."""
    return __import__(f"{room}.{families[kind]}", fromlist=("KINDS",)).KINDS[kind]


def check(header: dict[str, Any], arrays: Arrays) -> None:
    """Check that the plan's computation fits its signature, its arrays and its classes.

    Raises
    ------
    BadInput
        ``plan-header`` when something is malformed or unknown, ``plan-dimensions`` when it does not fit.
    """
    flow = "".join("s" if field["type"] in ("category", "text") else "n" for field in header["signature"])
    spec, classes = header["estimator"], len(header["classes"])
    pool: Any = _Arrays(arrays)
    try:
        _depth(header["features"], MAX_DEPTH)
        _depth(spec.get("steps", ()), MAX_DEPTH)
        outputs = node(spec, _steps(header["features"], flow, pool), pool)
        fits(outputs == max(classes, 1), "classes")
        # Without classes the outputs are values, with them probabilities.
        fits((classes == 0) == (spec["link"] in VALUE_LINKS), "estimator.link")
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        raise BadInput(
            f"The scoring plan's computation is malformed: {type(error).__name__} at {error}"[:200],
            code="plan-header",
            remedy="Train the model again.",
        ) from None


def fits(holds: bool, where: str) -> None:
    """Refuse the plan unless the condition holds."""
    if not holds:
        raise BadInput(
            "Dimensions of the scoring plan do not fit each other",
            code="plan-dimensions",
            where=where,
            remedy="Train the model again.",
        )


def array(arrays: Sequence[memoryview], index: object, codes: str, size: int, where: str) -> memoryview:
    """Take an array of one of the type codes and of that size; any size when it is negative."""
    declared(arrays, index, codes, size, where)
    return arrays.all[index]  # type: ignore[attr-defined, no-any-return]


def declared(arrays: Any, index: object, codes: str, size: int, where: str) -> int:
    """Take an array as :func:`array` does, without making it, and return its size.

    For what a row does not need, and whose elements may be anything.
    """
    fits(type(index) is int and index in arrays.left, where)
    arrays.left.remove(index)
    code, elements = arrays.all.declared(index)
    fits(code in codes and (size < 0 or elements == size), where)
    return elements  # type: ignore[no-any-return]


def indices(values: Sequence[Any], limit: int, where: str, least: int = 0) -> None:
    """Refuse the plan unless all values are integers, no truth values, from ``least`` to below the limit."""
    fits(all(type(value) is int and least <= value < limit for value in values), where)


def is_number(value: object) -> bool:
    """Return whether the value is a number that a float holds, and not NaN."""
    # float() raises OverflowError for an integer that no float can hold.
    return isinstance(value, (int, float)) and float(value) == value


def node(spec: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> int:
    """Check a node and return the number of its outputs, behind its link."""
    kind, link = spec["kind"], spec["link"]
    if kind not in ESTIMATORS:
        raise _unknown(kind)
    if link not in LINKS:
        raise _unknown(link)
    flow = _steps(spec.get("steps", ()), flow, arrays)
    # A model from elsewhere may take texts, and says where.
    texts = [i for i, letter in enumerate(flow) if letter == "s"]
    fits(texts == spec.get("texts", []), "estimator")
    outputs: int = of(__name__, ESTIMATORS, kind)(spec, len(flow), arrays)
    fits(outputs > 0, "estimator")
    if link in PAIR_LINKS:
        fits(outputs == 1, "estimator.link")
        return 2
    return outputs


def _unknown(kind: object) -> BadInput:
    return BadInput(
        f"The scoring plan uses {kind!r:.60}, which this release does not know",
        code="plan-header",
        remedy="Upgrade Millrace, or train the model again with this release.",
    )


def _steps(steps: Sequence[Any], flow: str, arrays: Any) -> str:
    for step in steps:
        kind = step["kind"]
        if kind == "columns":
            flow = _columns(step, flow, arrays)
        elif kind in ENCODERS:
            flow = of(__name__, ENCODERS, kind)(step, flow, arrays)
        else:
            raise _unknown(kind)
        fits(len(flow) <= MAX_WIDTH, "width")
        arrays.work += len(flow)
        fits(arrays.work <= _MAX_WORK, "width")
    return flow


def _depth(steps: Sequence[Any], left: int) -> None:
    fits(left > 0, "depth")
    for step in steps:
        for branch in step.get("branches", ()):
            _depth(branch["steps"], left - 1)
        for member in step.get("members", ()):
            _depth(member.get("steps", ()), left - 1)


def _columns(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    result = ""
    for branch in step["branches"]:
        indices(branch["inputs"], len(flow), "columns.inputs")
        result += _steps(branch["steps"], "".join(flow[i] for i in branch["inputs"]), arrays)
        fits(len(result) <= MAX_WIDTH, "width")
    return result
