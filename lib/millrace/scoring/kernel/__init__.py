"""Scores a block of rows with a small C library: fast where many rows come, and without numpy.

It computes what ``scoring.rows`` computes, in the same order. A family's module has ``KINDS``: functions
``(program, spec, flow) -> flow`` that translate a kind into steps of :mod:`millrace.scoring.kernel.program`.
What no module translates is evaluated in Python, row by row, by its class in ``scoring.rows``.
"""

from __future__ import annotations

from array import array

from millrace.plan.kinds import ENCODERS, ESTIMATORS, of
from millrace.scoring.kernel.library import Unavailable, library
from millrace.scoring.kernel.links import link
from millrace.scoring.kernel.program import TEXT, NotCovered, Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from millrace.plan import Plan
    from millrace.scoring.kernel.program import Block, Flow

__all__ = ["KernelScorer", "NotCovered", "Unavailable", "available", "encode", "node"]


class KernelScorer:
    """Scores blocks of rows of a plan.

    Parameters
    ----------
    plan : Plan
        As ``plan.read`` returns it.

    Attributes
    ----------
    width : int
        Numbers that a row gets: one a class, or for regression one.
    is_native : bool
        Whether no step runs row by row in Python.

    Raises
    ------
    NotCovered
        The plan has something that the kernel does not know.
    Unavailable
        There is no kernel for this machine.
    """

    def __init__(self, plan: Plan) -> None:
        program = Program(plan.arrays)
        self._names = [field["name"] for field in plan.signature.fields]
        flow: Flow = []
        for field in plan.signature.fields:
            name = field["name"]
            if field["type"] in ("category", "text"):
                flow.append(program.text(name))
            else:
                flow.append(program.field(name))
        flow = encode(program, plan.header["features"], flow)
        result = node(program, plan.header["estimator"], flow)
        self.width = len(result)
        program.finish(result)
        self.is_native = program.is_native
        self._program = program

    def score(self, columns: Mapping[str, Any], rows: int | None = None) -> array[float]:
        """Score a block.

        Parameters
        ----------
        columns : mapping
            Converted values by field name, all of one length: float64 as any buffer or a list, or for a
            category or a text a sequence of str and None. Columns that are no field are not read.
        rows : int, optional
            Their length; a plan without fields has no other way to know it.

        Returns
        -------
        array of float64
            Row by row, ``width`` numbers each: the probabilities in the order of ``plan.classes``, or for
            regression the prediction.
        """
        if rows is None:
            rows = len(columns[self._names[0]]) if self._names else 0
        return self._program.run(columns, rows)

    def row(self) -> Callable[[Sequence[Any]], list[float]]:
        """Return a function that scores one row: converted values in the order of the plan's fields."""
        return self._program.row(self._names)


def available() -> bool:
    """Return whether there is a kernel for this machine."""
    try:
        library()
    except Unavailable:
        return False
    return True


def encode(program: Program, specs: Sequence[dict[str, Any]], flow: Flow) -> Flow:
    """Translate encoders."""
    for spec in specs:
        kind = spec["kind"]
        if kind == "columns":
            result: Flow = []
            for branch in spec["branches"]:
                result += encode(program, branch["steps"], [flow[i] for i in branch["inputs"]])
            flow = result
        else:
            translate = _known(ENCODERS, kind)
            flow = translate(program, spec, flow) if translate else _encode_rows(program, spec, flow)
    return flow


def node(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Translate an estimator with the encoders before it and the link behind it."""
    flow = encode(program, spec.get("steps", ()), flow)
    kind = spec["kind"]
    if spec.get("texts"):
        raise NotCovered(f"texts in an estimator, {kind!r}")
    translate = _known(ESTIMATORS, kind)
    raw = translate(program, spec, flow) if translate else _estimate_rows(program, spec, flow)
    return link(program, spec["link"], raw)


def _known(families: dict[str, str], kind: str) -> Any:
    try:
        return of(__name__, families, kind)
    except (ModuleNotFoundError, KeyError):
        return None


def _estimate_rows(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Evaluate an estimator row by row, by the row path's class."""
    estimator = of("millrace.scoring.rows", ESTIMATORS, spec["kind"])(spec, program.arrays)
    return program.python(estimator, flow, len(estimator([0.0] * len(flow))))


def _encode_rows(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Evaluate an encoder row by row, by the row path's class."""
    encoder = of("millrace.scoring.rows", ENCODERS, spec["kind"])(spec, program.arrays)
    probe = encoder([None if element[0] == TEXT else 0.0 for element in flow])
    width = len(probe)
    if all(element[0] != TEXT for element in flow):
        return program.python(encoder, flow, width)
    if any(value.__class__ is not float for value in probe):
        raise NotCovered(f"an encoder that makes texts, {spec['kind']!r}")
    makers = [program.objects(element) for element in flow]
    sparse = getattr(encoder, "sparse", None) or (lambda row: _entries(encoder(row)))

    def entries(block: Block) -> tuple[array[int], array[int], array[float]]:
        starts, index, values = array("q", [0]), array("i"), array("d")
        for row in zip(*[make(block) for make in makers], strict=True):
            found, weights = sparse(row)
            index.extend(found)
            values.extend(weights)
            starts.append(len(index))
        return starts, index, values

    return program.sparse(entries, width)


def _entries(row: list[float]) -> tuple[list[int], list[float]]:
    found = [k for k, value in enumerate(row) if value]
    return found, [row[k] for k in found]
