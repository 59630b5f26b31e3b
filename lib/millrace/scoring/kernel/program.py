"""A plan as a program: the steps that a block goes through, and what Python prepares for them.

While a plan is translated, a row is a *flow*: a list with one element for each of its values, each a triple
``(form, source, number)``:

=========  ===============================  ===============
form       source                           number
=========  ===============================  ===============
DENSE      a register                       0
ONE_HOT    a register that holds codes      the code that is 1
SPARSE     a sparse input                   its column
TEXT       a text input                     0
=========  ===============================  ===============

A register is a column of one float64 for each row of a tile. So a category stays one column of codes however
many columns of 0 and 1 it stands for, and the words of a text stay those that occur.
"""

from __future__ import annotations

import ctypes
from array import array

from millrace.scoring.kernel.library import Column, Row, Step, StepFunction, address, library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Element = tuple[int, int, int]
    Flow = list[Element]

__all__ = ["DENSE", "ONE_HOT", "SPARSE", "TEXT", "Block", "NotCovered", "Program"]

DENSE, ONE_HOT, SPARSE, TEXT = range(4)
_TILE_BYTES = 384 << 10
"""Of registers: what stays in a core's second cache beside the model."""
_TILES = (64, 2048)
"""Fewest and most rows of a tile."""


class NotCovered(Exception):
    """The kernel does not know something that the plan does."""


class Block:
    """The columns of one block, and what Python made of them."""

    __slots__ = ("_lists", "columns", "rows")

    def __init__(self, columns: Mapping[str, Any], rows: int) -> None:
        self.columns = columns
        self.rows = rows
        self._lists: dict[str, list[Any]] = {}

    def values(self, name: str) -> list[Any]:
        """Return a column's values as Python objects."""
        found = self._lists.get(name)
        if found is None:
            column = self.columns[name]
            found = column.tolist() if hasattr(column, "tolist") else column
            self._lists[name] = found
        return found


class _Owned:
    """A table that the library made, freed with the program."""

    __slots__ = ("_free", "handle")

    def __init__(self, free: Callable[[int], None], handle: int) -> None:
        self._free = free
        self.handle = handle

    def __del__(self) -> None:
        self._free(self.handle)


class Program:
    """Collects steps, then runs them.

    Attributes
    ----------
    arrays : sequence of memoryview
        The plan's.
    """

    def __init__(self, arrays: Sequence[memoryview]) -> None:
        self.arrays = arrays
        self.library = library()
        self._registers = 0
        self._fields: dict[int, str] = {}
        self._steps: list[dict[str, Any]] = []
        self._inputs: list[tuple[int, str, Callable[[Any], float] | None]] = []
        self._sparse: list[Callable[[Block], tuple[Any, Any, Any]]] = []
        self._texts: list[tuple[str, str | None]] = []
        self._kept: list[Any] = []
        self._errors: list[BaseException] = []
        self._lock: Any = None

    # What a translation calls.

    def field(self, name: str, value: Callable[[Any], float] | None = None) -> Element:
        """Return a field's numbers, or what Python makes of each of its values."""
        register = self.register()
        self._inputs.append((len(self._steps), name, value))
        self._steps.append({"run": "step_load", "out": register})
        if value is None:
            self._fields[register] = name
        return DENSE, register, 0

    def sparse(self, make: Callable[[Block], tuple[Any, Any, Any]], width: int) -> Flow:
        """Return columns that are mostly zero.

        ``make`` returns where each row's entries start (int64, one more than rows), their columns (int32,
        rising) and their values (float64).
        """
        self._sparse.append(make)
        return [(SPARSE, len(self._sparse) - 1, k) for k in range(width)]

    def text(self, name: str, fill: str | None = None) -> Element:
        """Return a field's texts, with another in the place of those that are missing."""
        self._texts.append((name, fill))
        return TEXT, len(self._texts) - 1, 0

    def text_of(self, element: Element) -> tuple[str, str | None]:
        """Return the field of a text and what stands in the place of those that are missing."""
        return self._texts[element[1]]

    def objects(self, element: Element) -> Callable[[Block], list[Any]]:
        """Return what makes an element's values as Python objects: texts, and fields as they came."""
        if element[0] == TEXT:
            text, fill = self.text_of(element)
            if fill is None:
                return lambda block: block.values(text)
            return lambda block: [fill if value is None else value for value in block.values(text)]
        name = self._fields.get(element[1]) if element[0] == DENSE else None
        if name is None:
            raise NotCovered("an encoder in Python behind one in the kernel")
        return lambda block: block.values(name)

    def register(self, count: int = 1) -> int:
        """Return the first of some new registers."""
        self._registers += count
        return self._registers - count

    def step(self, run: str, flow: Flow, outputs: int = 1, **members: Any) -> Flow:
        """Add a step; members ``p``, ``q`` and ``table`` are buffers or addresses."""
        out = self.register(outputs)
        self._steps.append({"run": run, "flow": flow, "out": out, **members})
        return [(DENSE, out + k, 0) for k in range(outputs)]

    def constant(self, values: Any) -> Flow:
        """Return columns of one value each; float64."""
        if values.__class__ is list:
            values = array("d", values)
        return self.step("step_constant", [], len(values), p=values, j=len(values))

    def python(
        self, function: Callable[[Sequence[float]], Sequence[float]], flow: Flow, outputs: int
    ) -> Flow:
        """Add a step that calls a function with each row, as slow as that is."""
        flow = self.dense(flow)
        result = self.step("", flow, outputs)
        members = self._steps[-1]

        def run(step: Any, first: int, rows: int) -> None:
            try:
                places = [self._at(register) for _, register, _ in flow]
                columns = [(ctypes.c_double * rows).from_address(place)[:] for place in places]
                made = (
                    [function(list(row)) for row in zip(*columns, strict=True)]
                    if columns
                    else ([function([]) for _ in range(rows)])
                )
                for k, column in enumerate(zip(*made, strict=True)):
                    (ctypes.c_double * rows).from_address(self._at(result[k][1]))[:] = list(column)
            except BaseException as error:  # noqa: BLE001 - C cannot pass it on; run() raises it
                self._errors.append(error)

        members["run"] = self.keep(StepFunction(run))
        return result

    @property
    def is_native(self) -> bool:
        """Whether no step calls Python."""
        return all(step["run"].__class__ is str for step in self._steps)

    def dense(self, flow: Flow) -> Flow:
        """Return the same values, each in a register of its own."""
        if any(element[0] == TEXT for element in flow):
            raise NotCovered("texts where numbers belong")
        if all(element[0] == DENSE for element in flow):
            return flow
        return self.step("step_dense", flow, len(flow))

    def keep(self, thing: Any) -> Any:
        """Keep a thing for as long as the program; return it."""
        self._kept.append(thing)
        return thing

    def own(self, handle: int, free: Callable[[int], None]) -> None:
        """Free a table that the library made when the program goes."""
        self.keep(_Owned(free, handle))

    # What runs.

    def finish(self, results: Flow) -> None:
        """Lay out the registers and bind the steps to them."""
        if results != [(DENSE, results[0][1] + k, 0) for k in range(len(results))]:
            # They must stand side by side.
            results = self.step("step_dense", results, len(results))
        from _thread import allocate_lock

        least, most = _TILES
        size = _TILE_BYTES // (8 * max(self._registers, 1))
        self._tile = max(least, min(most, size // least * least))
        arena = self.keep((ctypes.c_double * (self._registers * self._tile + 8))())
        self._start = (ctypes.addressof(arena) + 63) & ~63
        self._bound: list[tuple[Column, int]] = []
        steps = (Step * len(self._steps))()
        at = self._at
        for step, members in zip(steps, self._steps, strict=True):
            run = members["run"]
            function = getattr(self.library, run) if run.__class__ is str else run
            step.run = ctypes.cast(function, ctypes.c_void_p).value
            step.out, step.stride = at(members["out"]), self._tile
            columns = self._columns(members.get("flow", ()), at)
            step.columns, step.count = ctypes.addressof(self.keep(columns)), len(columns)
            for name, value in members.items():
                if name in ("p", "q", "table") and not isinstance(value, int):
                    value, owner = address(value)
                    self.keep(owner)
                if name not in ("run", "out", "flow"):
                    setattr(step, name, value)
        self._width = len(results)
        self._results = at(results[0][1])
        self._program = self.keep(steps)
        self._places: Sequence[int] = ()
        self._lock = allocate_lock()

    def _at(self, register: int) -> int:
        return self._start + register * self._tile * 8

    def _columns(self, flow: Sequence[Element], at: Callable[[int], int]) -> Any:
        runs: list[list[int]] = []
        for form, source, number in flow:
            last = runs[-1] if runs else None
            if last and form != DENSE and last[:2] == [form, source] and last[2] + last[3] == number:
                last[3] += 1
            else:
                runs.append([form, source, number, 1])
        columns = (Column * len(runs))()
        for column, (form, source, number, width) in zip(columns, runs, strict=True):
            column.kind, column.first, column.width = form, number, width
            if form == SPARSE:
                self._bound.append((column, source))
            else:
                column.data = at(source)
        return columns

    def run(self, columns: Mapping[str, Any], rows: int) -> array[float]:
        """Return the results, row by row."""
        out = array("d", bytes(8 * rows * self._width))
        if not rows:
            return out
        block = Block(columns, rows)
        inputs = [address(_doubles(_column(block, name, value), rows)) for _, name, value in self._inputs]
        sparse = [tuple(map(address, make(block))) for make in self._sparse]
        with self._lock:
            self._bind([place for place, _ in inputs], sparse)
            self.library.millrace_run(
                ctypes.addressof(self._program),
                len(self._program),
                rows,
                self._tile,
                out.buffer_info()[0],
                self._results,
                self._tile,
                self._width,
            )
            if self._errors:
                error, self._errors = self._errors[0], []
                raise error
        return out

    def row(self, names: Sequence[str]) -> Callable[[Sequence[Any]], list[float]]:
        """Return a function that scores one row: values in the order of ``names``."""
        from struct import Struct

        order = [names.index(name) for _, name, _ in self._inputs]
        mapped = [(k, value) for k, (_, _, value) in enumerate(self._inputs) if value is not None]
        cells, out = array("d", bytes(8 * len(order))), array("d", bytes(8 * self._width))
        pack, first = Struct(f"{len(order)}d").pack_into, cells.buffer_info()[0]
        places = range(first, first + 8 * len(order), 8)
        call = Row(
            *(ctypes.addressof(self._program), len(self._program), out.buffer_info()[0]),
            *(self._results, self._tile, self._width),
        )
        self.keep(call)
        run, at, made = self.library.millrace_row, ctypes.addressof(call), self._sparse

        def score(values: Sequence[Any]) -> list[float]:
            sparse = []
            if made:
                block = Block({name: [value] for name, value in zip(names, values, strict=True)}, 1)
                sparse = [tuple(map(address, make(block))) for make in made]
            with self._lock:
                if made or self._places is not places:
                    self._bind(places, sparse)
                inputs = [values[i] for i in order]
                for k, value in mapped:
                    inputs[k] = value(inputs[k])
                pack(cells, 0, *inputs)
                run(at)
                return out.tolist()

        return score

    def _bind(self, places: Sequence[int], sparse: Sequence[tuple[Any, ...]]) -> None:
        """Have the steps read their inputs there."""
        for (step, _, _), place in zip(self._inputs, places, strict=True):
            self._program[step].p = place
        for column, source in self._bound:
            starts, index, values = sparse[source]
            column.starts, column.index, column.values = starts[0], index[0], values[0]
        self._places = places


def _column(block: Block, name: str, value: Callable[[Any], float] | None) -> Any:
    """Return a field's numbers; a column that knows its different values is asked to map these."""
    column = block.columns[name]
    if value is None:
        return column
    mapped = getattr(column, "mapped", None)
    return mapped(value) if mapped else array("d", list(map(value, block.values(name))))


def _doubles(values: Any, rows: int) -> Any:
    """Return the values as a contiguous buffer of float64."""
    if values.__class__ is list:
        values = array("d", values)
    elif values.__class__ is not array or values.typecode != "d":
        view = memoryview(values)
        if view.format != "d" or view.ndim != 1 or not view.c_contiguous:
            values = array("d", values.tolist())
    if len(values) != rows:
        raise ValueError(f"a column has {len(values)} values instead of {rows}")
    return values
