"""The scoring plan: the one artifact that serving reads. Reading it executes nothing.

``read`` and ``write`` are the file format, ``Signature`` is what a row must look like. The rooms ``scoring``
evaluate a plan, and the compiler makes one. Everything here but ``pack`` and ``write`` runs inside
``predict``: the standard library alone, and little of it.
"""

from __future__ import annotations

from millrace.plan.format import MAX_PLAN_BYTES, PROTOCOL, Plan, read
from millrace.plan.signature import Signature, convert

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from millrace.plan.writing import pack, write

__all__ = ["MAX_PLAN_BYTES", "PROTOCOL", "Plan", "Signature", "convert", "pack", "read", "write"]


def __getattr__(name: str) -> Any:
    # ``predict`` never writes, so it need not carry the module that does.
    if name in ("pack", "write"):
        from millrace.plan import writing

        return getattr(writing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
