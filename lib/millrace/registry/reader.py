"""How ``predict`` follows the registry: what is live, noticed in time, within a memory bound.

Standard library only; imports nothing that reading an alias does not need.
"""

from __future__ import annotations

import json
import time

from millrace import keys
from millrace.errors import BadInput, MillraceError, Misconfigured, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Bucket(Protocol):
        """What is read from: :class:`millrace.aws.lean.Bucket`."""

        def get(self, key: str) -> tuple[bytes, str]:
            """Return the object's bytes and etag."""
            ...

        def get_if_changed(self, key: str, etag: str) -> tuple[bytes, str] | None:
            """Return the same, or ``None`` when ``etag`` is still the object's."""
            ...

        def folders(self, prefix: str) -> list[str]:
            """Return the names between ``prefix`` and the next ``/``."""
            ...


__all__ = ["Reader", "Served"]

HELD_BYTES = 64 << 20
"""Plans held in memory, by the size of their files; the one asked for last always stays."""
NAMED_MODELS = 20
"""Names that an error lists at most."""
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")


class Served:
    """A version in memory: ``content`` is what ``load`` made of its plan."""

    __slots__ = ("content", "model", "size_bytes", "version")

    def __init__(self, model: str, version: int, content: Any, size_bytes: int) -> None:
        self.model = model
        self.version = version
        self.content = content
        self.size_bytes = size_bytes


class _Alias:
    __slots__ = ("checked_at", "etag", "version")

    def __init__(self, version: int, etag: str, checked_at: float) -> None:
        self.version = version
        self.etag = etag
        self.checked_at = checked_at


class Reader:
    """Reads aliases and plans, and keeps them.

    Parameters
    ----------
    bucket : Bucket
        The artifact bucket.
    load : callable
        Makes of a plan's bytes what rows are scored with; raises ``BadInput`` for a plan that is broken.
    freshness_s : float
        An alias is read again, by a conditional GET, when it is asked for and older than this.
    warn : callable
        Told, as a sentence, when a new version cannot be read and the old one goes on answering.
    """

    def __init__(
        self,
        bucket: Bucket,
        load: Callable[[bytes], Any],
        *,
        freshness_s: float = 30.0,
        warn: Callable[[str, MillraceError], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bucket = bucket
        self._load = load
        self._freshness_s = freshness_s
        self._warn = warn
        self._clock = clock
        self._aliases: dict[str, _Alias] = {}
        self._held: dict[tuple[str, int], Served] = {}
        self._only: tuple[str, float] | None = None

    def live(self, model: str) -> Served:
        """Return the version that the model's alias ``live`` names.

        Raises
        ------
        NotFound
            There is no such model, or no version of it is live.
        """
        alias = self._aliases.get(model)
        if alias is None:
            return self._first(model)
        now = self._clock()
        if now - alias.checked_at < self._freshness_s:
            return self.version(model, alias.version)
        alias.checked_at = now
        try:
            return self._again(model, alias)
        except NotFound as error:
            if error.code == "model-unknown":
                raise
            return self._old(model, alias, error)
        except MillraceError as error:
            return self._old(model, alias, error)

    def version(self, model: str, number: int) -> Served:
        """Return one version, live or not.

        Raises
        ------
        NotFound
            There is no such model or version.
        """
        held = self._held.pop((model, number), None)
        if held is None:
            held = self._read(model, number)
        self._held[model, number] = held  # the last is the one used last
        size_bytes = sum(served.size_bytes for served in self._held.values())
        while size_bytes > HELD_BYTES and len(self._held) > 1:
            size_bytes -= self._held.pop(next(iter(self._held))).size_bytes
        return held

    def only(self) -> str:
        """Return the name of the one model that is live.

        Raises
        ------
        NotFound
            None is.
        BadInput
            Several are; the error names them.
        """
        now = self._clock()
        if self._only is not None and now - self._only[1] < self._freshness_s:
            return self._only[0]
        live: list[str] = []
        for name in self._bucket.folders(keys.MODELS):
            if len(live) == NAMED_MODELS:
                break
            if name in self._aliases or self._is_live(name):
                live.append(name)
        if not live:
            raise NotFound(
                "No model is live",
                code="model-unknown",
                remedy="Upload a table with a target, and wait until its run has succeeded.",
            )
        if len(live) > 1:
            raise BadInput(
                "Several models are live, so the request must name one",
                code="model-ambiguous",
                where="field 'model'",
                remedy=f"Name one of: {', '.join(live)}{' and more' if len(live) == NAMED_MODELS else ''}.",
            )
        self._only = live[0], now
        return live[0]

    def _is_live(self, model: str) -> bool:
        try:
            self._bucket.get(keys.alias(model))
        except NotFound:
            return False
        return True

    def _first(self, model: str) -> Served:
        version, etag = self._alias(model, "")
        served = self.version(model, version)
        self._aliases[model] = _Alias(version, etag, self._clock())
        return served

    def _again(self, model: str, alias: _Alias) -> Served:
        try:
            version, etag = self._alias(model, alias.etag)
        except NotFound:
            del self._aliases[model]
            self._only = None
            raise
        served = self.version(model, version or alias.version)
        # Only now: as long as the new version cannot be read, the old etag lets the next look see it again.
        alias.version, alias.etag = served.version, etag
        return served

    def _old(self, model: str, alias: _Alias, error: MillraceError) -> Served:
        served = self.version(model, alias.version)
        self._warn(f"{model}: what is live now cannot be read; version {alias.version} goes on", error)
        return served

    def _alias(self, model: str, etag: str) -> tuple[int, str]:
        """Return version and etag; version 0 when the alias is the one that ``etag`` names."""
        if not _is_name(model):
            raise _unknown(model)
        key = keys.alias(model)
        try:
            found = self._bucket.get_if_changed(key, etag) if etag else self._bucket.get(key)
        except NotFound:
            raise _unknown(model) from None
        if found is None:
            return 0, etag
        data, etag = found
        try:
            version = json.loads(data)["version"]
        except (ValueError, KeyError, TypeError):
            version = None
        if type(version) is not int or version < 1:
            raise Misconfigured(
                "The alias is not one that the registry wrote", code="alias-broken", where=key
            )
        return version, etag

    def _read(self, model: str, number: int) -> Served:
        if not _is_name(model):
            raise _unknown(model)
        key = keys.version(model, number, "model.plan")
        try:
            data, _ = self._bucket.get(key)
        except NotFound:
            raise NotFound(
                f"The model {model!r} has no version {number}",
                code="version-unknown",
                where=f"model {model!r}",
                remedy="GET /models/{name} lists its versions.",
            ) from None
        try:
            return Served(model, number, self._load(data), len(data))
        except BadInput as error:  # the request is not to blame
            raise Misconfigured(
                f"The plan of version {number} cannot be used: {error.what}",
                code="plan-broken",
                where=key,
                remedy="Roll the model back to a version that answers.",
            ) from error


def _is_name(model: str) -> bool:
    """Tell whether ``model`` can be a model's name; nothing else may become part of a key."""
    return 0 < len(model) < 64 and model[0] in _LETTERS and _LETTERS.issuperset(model.translate(_MARKS))


_MARKS = {ord(mark): None for mark in "._-"}


def _unknown(model: str) -> NotFound:
    return NotFound(
        f"There is no model {model[:64]!r}, or no version of it is live",
        code="model-unknown",
        where="field 'model'",
        remedy="GET /models lists the models.",
    )
