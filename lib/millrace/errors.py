"""Every error Millrace raises on purpose, and what becomes of it.

::

    MillraceError
    ├── BadInput          400  the caller's file, spec or request is wrong: never retried
    │   ├── Unprocessable 422  well formed, but a value does not fit the model's signature
    │   └── TooLarge      413  over a limit that we state
    ├── NotFound          404  it is not there: never retried
    ├── Conflict          409  somebody else moved first: read again, then decide
    ├── TransientError    503  the same call may succeed later: the only one that is retried
    └── Misconfigured     500  the deployment is wrong: an operator must act

Step Functions and the event sources retry by class name, so ``TransientError`` is one class
without children. ``code`` is stable: programs may compare it; the sentences may change.
"""

from __future__ import annotations


class MillraceError(Exception):
    """An error with a fate.

    Parameters
    ----------
    what : str
        What is wrong, as a sentence without its full stop.
    code : str
        Stable identifier in kebab-case, for example ``"file-empty"``.
    where : str
        Line, column, field or resource, for example ``"line 12, column 'age'"``.
    remedy : str
        What the reader can do about it, as a sentence.
    """

    status = 500
    retry = False

    def __init__(self, what: str, *, code: str, where: str = "", remedy: str = "") -> None:
        self.what = what
        self.code = code
        self.where = where
        self.remedy = remedy
        super().__init__(what)

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.what}{place}. {self.remedy}".strip()

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.code, self.where, self.remedy))


def _rebuild(kind: type[MillraceError], what: str, code: str, where: str, remedy: str) -> MillraceError:
    return kind(what, code=code, where=where, remedy=remedy)


class BadInput(MillraceError):
    """The file, the spec or the request is wrong; the same input fails again."""

    status = 400


class Unprocessable(BadInput):
    """A well-formed request holds a value that the model's signature refuses."""

    status = 422
    values: tuple[dict[str, object], ...] = ()
    """The refused values, ``{"row", "field", "code", "message"}`` each, when several are told at once."""


class TooLarge(BadInput):
    """Over one of our stated limits."""

    status = 413


class NotFound(MillraceError):
    """There is no such thing."""

    status = 404


class Conflict(MillraceError):
    """A conditional write lost against another writer."""

    status = 409


class TransientError(MillraceError):
    """A throttle, a time-out or a fault of a service: the same call may succeed later."""

    status = 503
    retry = True


class Misconfigured(MillraceError):
    """The deployment lacks something it needs."""

    status = 500
