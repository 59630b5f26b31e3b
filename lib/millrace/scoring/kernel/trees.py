"""Translates forests and boosted trees."""

from __future__ import annotations

import ctypes

from millrace.scoring.kernel.library import address
from millrace.scoring.kernel.program import NotCovered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from millrace.scoring.kernel.program import Flow, Program

__all__ = ["KINDS", "METHODS"]

METHODS = ("byte ranks", "word ranks", "small nodes", "large nodes")
"""How ``source/trees.c`` evaluates them, by number."""


def _trees(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Forests and boosted trees."""

    def array_of(name: str) -> memoryview | None:
        return None if spec[name] is None else program.arrays[spec[name]]

    def place(view: memoryview | None) -> int | None:
        if view is None:
            return None
        found, owner = address(view)
        program.keep(owner)
        return found

    nodes = [program.arrays[spec[name]] for name in ("feature", "skip", "number")]
    roots = program.arrays[spec["roots"]]
    arguments: list[Any] = []
    for view in nodes:
        arguments += [place(view), view.format.encode()]
    handle = program.library.millrace_trees(
        *arguments,
        len(nodes[0]),
        place(roots),
        len(roots),
        len(flow),
        spec["outputs"],
        place(array_of("values")),
        place(array_of("baseline")),
        place(array_of("masks")),
        int(spec["mean"]),
        int(spec["single"]),
    )
    if not handle:
        raise NotCovered("trees whose table is no tree, or compares with NaN")
    program.own(handle, program.library.millrace_trees_free)
    scratch = program.keep(ctypes.create_string_buffer(program.library.millrace_trees_scratch(handle) + 64))
    return program.step(
        "step_trees", flow, spec["outputs"], table=handle, q=(ctypes.addressof(scratch) + 63) & ~63
    )


KINDS = {"trees": _trees}
