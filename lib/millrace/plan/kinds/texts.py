"""What becomes of texts.

``words``
    ``terms``; ``idf``: array or null; ``lower``, ``binary``, ``norm``: true or false.
"""

from __future__ import annotations

from millrace.plan.kinds import array, fits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]


def _words(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    fits(flow == "s" and all(isinstance(term, str) for term in step["terms"]), "words.terms")
    fits(all(type(step[name]) is bool for name in ("lower", "binary", "norm")), "words")
    if step["idf"] is not None:
        array(arrays, step["idf"], "d", len(step["terms"]), "words.idf")
    return "n" * len(step["terms"])


KINDS = {"words": _words}
