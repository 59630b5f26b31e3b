"""What the emitters share."""

from __future__ import annotations

from millrace.errors import BadInput

__all__ = ["not_expressed"]


def not_expressed(what: str) -> BadInput:
    """Return the refusal of something that standard operators cannot express."""
    return BadInput(
        f"{what} cannot be expressed with standard ONNX operators",
        code="onnx-not-expressed",
        remedy="Serve the scoring plan itself, or train without it.",
    )
