"""What is the same in every protocol: a request, its answer, and a call that turns one into the other."""

from __future__ import annotations

from millrace.edge.predict.score import score

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from millrace.edge.predict.score import Scores
    from millrace.registry.reader import Reader, Served

__all__ = ["Call", "Request"]


class Request:
    """What is asked for, whatever the protocol.

    Parameters
    ----------
    rows : list of dict, optional
        Field name to JSON value, one a row; or else
    columns : mapping, optional
        Field name to its values, one a row: how blocks arrive. All have ``count`` values.
    count : int, optional
        Rows.
    model : str, optional
        The only one that is live when left out.
    version : int, optional
    alias : str, optional
        Which version; the one that the alias ``live`` names when both are left out.
    strict : bool
        Refuse what would otherwise be a warning.
    """

    __slots__ = ("alias", "columns", "count", "model", "rows", "strict", "version")

    def __init__(
        self,
        rows: list[dict[str, Any]] | None = None,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
        count: int = -1,
        model: str | None = None,
        version: int | None = None,
        alias: str | None = None,
        strict: bool = False,
    ) -> None:
        self.rows = rows
        self.columns = columns
        self.count = count if rows is None else len(rows)
        self.model = model
        self.version = version
        self.alias = alias
        self.strict = strict


class Call:
    """One request under way.

    Attributes
    ----------
    event : mapping
        As it came.
    path : str
        Of an HTTP request; empty for a direct event.
    reader : Reader
        The registry.
    max_body_bytes : int
        What a body may have.
    remaining_ms : callable
        Milliseconds that are left of the function's time.
    told : dict
        What the log will say about the request.
    """

    __slots__ = ("event", "max_body_bytes", "path", "reader", "remaining_ms", "told")

    def __init__(
        self,
        event: Mapping[str, Any],
        path: str,
        reader: Reader,
        max_body_bytes: int,
        remaining_ms: Callable[[], int],
        told: dict[str, Any],
    ) -> None:
        self.event = event
        self.path = path
        self.reader = reader
        self.max_body_bytes = max_body_bytes
        self.remaining_ms = remaining_ms
        self.told = told

    def served(self, request: Request) -> Served:
        """Return the version that the request asks for; raise ``NotFound`` or ``BadInput``."""
        reader, told = self.reader, self.told
        model = request.model
        if model is None:
            model = reader.only()
        if request.version is None:
            served = reader.alias(model, request.alias or "live")
        else:
            served = reader.version(model, request.version)
        told["model"], told["version"] = served.model, served.version
        return served

    def score(self, request: Request) -> tuple[Served, Scores]:
        """Score the request's rows with the version that it asks for."""
        told = self.told
        told["rows"] = request.count
        served = self.served(request)
        scores = score(served.content, request, self.remaining_ms)
        told["warnings"] = len(scores.warnings)
        return served, scores
