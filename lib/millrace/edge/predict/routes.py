"""Which protocol a path belongs to; ``POST /predict`` does not come by here."""

from __future__ import annotations

from millrace.edge import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from millrace.edge.predict.call import Call
    from millrace.errors import MillraceError

    class Spoken(Protocol):
        """A module that speaks a protocol."""

        def answer(self, call: Call) -> dict[str, Any]:
            """Return the reply to a request."""
            ...

        def refuse(self, error: MillraceError, path: str) -> dict[str, Any]:
            """Return the reply that an error becomes."""
            ...


__all__ = ["protocol_of"]


def protocol_of(path: str) -> tuple[Spoken, str]:
    """Return the module that answers a path, imported now, and the protocol's name for the log.

    Raises
    ------
    NotFound
        None does.
    """
    if path == "/v2" or path.startswith("/v2/"):
        from millrace.edge.predict import v2

        return v2, "v2"
    first, _, last = path.rpartition("/")
    if first and not first.startswith("/models/"):
        raise http.no_route(path)
    if last in ("invocations", "ping"):
        from millrace.edge.predict import mlflow

        return mlflow, "mlflow"
    if last == "predict":
        from millrace.edge.predict import ours

        return ours, "predict"
    raise http.no_route(path)
