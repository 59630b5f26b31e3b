"""What is the same in every protocol: which model a path names, what is asked of it, and the call itself."""

from __future__ import annotations

from millrace.edge.predict.score import score
from millrace.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from millrace.edge.predict.score import Scores
    from millrace.registry.reader import Reader, Served

__all__ = ["Call", "Request", "Target"]

VERSION_DIGITS = 9
"""Digits that a version in a path may have."""


class Target:
    """Which version of which model a request asks for.

    Attributes
    ----------
    model : str or None
        The only one that is live when it is not named.
    version : int or None
    alias : str or None
        The one that the alias ``live`` names when neither is given.
    """

    __slots__ = ("alias", "model", "version")

    def __init__(
        self, model: str | None = None, version: int | None = None, alias: str | None = None
    ) -> None:
        self.model = model
        self.version = version
        self.alias = alias

    @classmethod
    def of_path(cls, parts: Sequence[str], where: str = "the path") -> Target:
        """Read ``<model>``, ``<model>/versions/<version>`` or ``<model>/aliases/<alias>``, split at ``/``.

        Raises
        ------
        NotFound
            It is something else, or no number can be a version.
        """
        match parts:
            case [model]:
                return cls(model)
            case [model, "versions", version]:
                if not (version.isascii() and version.isdigit() and len(version) <= VERSION_DIGITS):
                    raise NotFound(
                        f"The model {model[:64]!r} has no version {version[:20]!r}",
                        code="version-unknown",
                        where=where,
                        remedy="GET /models/{name} lists its versions.",
                    )
                return cls(model, int(version))
            case [model, "aliases", alias]:
                return cls(model, None, alias)
        raise NotFound(
            f"No model can be called {'/'.join(parts)[:80]!r}",
            code="model-unknown",
            where=where,
            remedy="GET /models lists the models.",
        )


class Request:
    """What is asked of a model, whatever the protocol.

    Parameters
    ----------
    rows : list of dict, optional
        Field name to JSON value, one a row; or else
    columns : mapping, optional
        Field name to its values, one a row: how blocks arrive. A column is a list of JSON values, or a
        one-dimensional memoryview of numbers or booleans in which NaN is missing.
    count : int, optional
        Rows; with ``columns``, of which each has as many values.
    strict : bool
        Refuse what would otherwise be a warning.
    explain : bool
        Say what each field contributed to each prediction.
    """

    __slots__ = ("columns", "count", "explain", "rows", "strict")

    def __init__(
        self,
        rows: list[dict[str, Any]] | None = None,
        *,
        columns: Mapping[str, Sequence[Any] | memoryview] | None = None,
        count: int = 0,
        strict: bool = False,
        explain: bool = False,
    ) -> None:
        self.rows = rows
        self.columns = columns
        self.count = count if rows is None else len(rows)
        self.strict = strict
        self.explain = explain


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

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of an HTTP request, by name in lower case."""
        return self.event.get("headers") or {}

    @property
    def method(self) -> str:
        """The method of an HTTP request."""
        method: str = self.event["requestContext"]["http"]["method"]
        return method

    def find(self, target: Target) -> Served:
        """Return the version that is asked for; raise ``NotFound`` or ``BadInput``."""
        reader, model = self.reader, target.model
        if model is None:
            model = reader.only()
        if target.version is None:
            served = reader.alias(model, target.alias or "live")
        else:
            served = reader.version(model, target.version)
        self.told["model"], self.told["version"] = served.model, served.version
        return served

    def score(self, served: Served, request: Request) -> Scores:
        """Score the rows with a version that :meth:`find` returned."""
        self.told["rows"] = request.count
        scores = score(served.content, request, self.remaining_ms)
        self.told["warnings"] = len(scores.warnings)
        return scores
