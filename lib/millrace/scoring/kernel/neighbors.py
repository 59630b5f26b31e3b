"""Translates nearest neighbours."""

from __future__ import annotations

from millrace.scoring.kernel.library import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from millrace.scoring.kernel.program import Flow, Program

__all__ = ["KINDS"]

METRICS = ("euclidean", "manhattan", "chebyshev")
"""By the number that ``source/neighbors.c`` has for them."""


def _neighbors(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Nearest neighbours."""
    views = {
        name: program.arrays[spec[name]] for name in ("points", "targets", "start", "end", "low", "high")
    }
    places = {name: address(view) for name, view in views.items()}

    def place(name: str) -> int:
        return places[name][0]

    def coded(name: str) -> tuple[int, bytes]:
        return place(name), views[name].format.encode()

    classes: int = spec["classes"]
    handle = program.library.millrace_neighbors(
        *(
            place("points"),
            *coded("targets"),
            len(views["targets"]),
            len(flow),
            *coded("start"),
            *coded("end"),
        ),
        *(place("low"), place("high"), len(views["end"]), spec["neighbors"], classes),
        *(METRICS.index(spec["metric"]), int(spec["weights"] == "distance")),
    )
    if not handle:
        raise MemoryError
    program.own(handle, program.library.millrace_neighbors_free)
    return program.step("step_neighbors", program.dense(flow), classes or 1, table=handle)


KINDS = {"neighbors": _neighbors}
