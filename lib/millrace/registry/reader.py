"""How ``predict`` follows the registry: where an alias points, noticed in time, within a memory bound.

A sandbox answers one request at a time, so nothing here is locked: an alias moves between two requests,
and a request has one version from its first row to its last.

Standard library only; imports nothing that reading an alias does not need.
"""

from __future__ import annotations

import json
import sys
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

BYTES_AN_OBJECT = 96
"""Memory that one object of a loaded plan takes, with its place in a list or a dictionary: 49 to 135 bytes
were measured over forests, boosted trees, linear models, words and categories."""
NAMED_MODELS = 20
"""Names that an error lists at most."""
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")


class Served:
    """A version in memory.

    Attributes
    ----------
    model, version
        Which one.
    content
        What ``load`` made of its plan.
    size_bytes : int
        Memory that it takes, about.
    """

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
    array_bytes : callable
        Returns of what ``load`` made the bytes of arrays, however they were stored in the file.
    freshness_s : float
        An alias is read again, by a conditional GET, when it is asked for and older than this.
    memory_bytes : int
        What all loaded plans together may take; the one used longest ago leaves first, and the one asked
        for always stays.
    warn : callable
        Told, as a sentence, when a new version cannot be read and the old one goes on answering.
    """

    def __init__(
        self,
        bucket: Bucket,
        load: Callable[[bytes], Any],
        *,
        array_bytes: Callable[[Any], int],
        freshness_s: float = 30.0,
        memory_bytes: int = 256 << 20,
        warn: Callable[[str, MillraceError], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bucket = bucket
        self._load = load
        self._array_bytes = array_bytes
        self._freshness_s = freshness_s
        self._memory_bytes = memory_bytes
        self._warn = warn
        self._clock = clock
        self._aliases: dict[tuple[str, str], _Alias] = {}
        self._held: dict[tuple[str, int], Served] = {}
        self._held_bytes = 0
        self._only: tuple[str, float] | None = None

    def alias(self, model: str, name: str = "live") -> Served:
        """Return the version that an alias of the model names.

        Raises
        ------
        NotFound
            There is no such model, or it has no such alias.
        """
        alias = self._aliases.get((model, name))
        if alias is None:
            return self._first(model, name)
        now = self._clock()
        if now - alias.checked_at < self._freshness_s:
            return self.version(model, alias.version)
        alias.checked_at = now
        try:
            return self._again(model, name, alias)
        except NotFound as error:
            if error.code in ("model-unknown", "alias-unknown"):
                raise
            return self._old(model, name, alias, error)
        except MillraceError as error:
            return self._old(model, name, alias, error)

    def version(self, model: str, number: int) -> Served:
        """Return one version, whatever alias names it.

        Raises
        ------
        NotFound
            There is no such model or version.
        """
        key = (model, number)
        held = self._held.pop(key, None)
        if held is None:
            held = self._read(model, number)
            self._held_bytes += held.size_bytes
            while self._held and self._held_bytes > self._memory_bytes:
                self._held_bytes -= self._held.pop(next(iter(self._held))).size_bytes
        self._held[key] = held  # the last is the one used last
        return held

    def models(self) -> list[str]:
        """Return the names of all models, live or not; raise ``TransientError`` if S3 does not answer."""
        return self._bucket.folders(keys.MODELS)

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
        for name in self.models():
            if len(live) == NAMED_MODELS:
                break
            if (name, "live") in self._aliases or self._is_live(name):
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

    def _first(self, model: str, name: str) -> Served:
        version, etag = self._look(model, name, "")
        served = self.version(model, version)
        self._aliases[model, name] = _Alias(version, etag, self._clock())
        return served

    def _again(self, model: str, name: str, alias: _Alias) -> Served:
        try:
            version, etag = self._look(model, name, alias.etag)
        except NotFound:
            del self._aliases[model, name]
            self._only = None
            raise
        served = self.version(model, version or alias.version)
        # Only now: as long as the new version cannot be read, the old etag lets the next look see it again.
        alias.version, alias.etag = served.version, etag
        return served

    def _old(self, model: str, name: str, alias: _Alias, error: MillraceError) -> Served:
        served = self.version(model, alias.version)
        self._warn(f"{model}: what is {name} now cannot be read; version {alias.version} goes on", error)
        return served

    def _look(self, model: str, name: str, etag: str) -> tuple[int, str]:
        """Return version and etag; version 0 when the alias is the one that ``etag`` names."""
        if not _is_name(model):
            raise _unknown(model)
        if not _is_name(name):
            raise _no_alias(model, name)
        key = keys.alias(model, name)
        try:
            found = self._bucket.get_if_changed(key, etag) if etag else self._bucket.get(key)
        except NotFound:
            raise (_unknown(model) if name == "live" else _no_alias(model, name)) from None
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
        objects = sys.getallocatedblocks()
        try:
            content = self._load(data)
        except BadInput as error:  # the request is not to blame
            raise Misconfigured(
                f"The plan of version {number} cannot be used: {error.what}",
                code="plan-broken",
                where=key,
                remedy="Roll the model back to a version that answers.",
            ) from error
        # The file, its arrays, which are inflated now or when they are first asked for, and the objects.
        objects = max(0, sys.getallocatedblocks() - objects)
        size_bytes = len(data) + self._array_bytes(content) + BYTES_AN_OBJECT * objects
        return Served(model, number, content, size_bytes)


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


def _no_alias(model: str, name: str) -> NotFound:
    return NotFound(
        f"There is no model {model!r} with an alias {name[:64]!r}",
        code="alias-unknown",
        where="the alias",
        remedy="GET /models/{name} tells what is live; the alias of that is 'live'.",
    )
