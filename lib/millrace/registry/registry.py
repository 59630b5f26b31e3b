"""The registry over one bucket: conditional writes and nothing else.

::

    models/<model>/versions/<n>/version.json   claims the number: written only if absent
    models/<model>/versions/<n>/model.plan     written only if absent
    models/<model>/versions/<n>/report.html    written only if absent
    models/<model>/aliases/live.json           written only if it is still what was read
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from millrace import keys
from millrace.contracts import ObjectStore, decode, encode
from millrace.errors import BadInput, Conflict, NotFound, TransientError
from millrace.registry.gate import Verdict, judge
from millrace.registry.versions import Alias, Move, Version

__all__ = ["Registry", "now"]

CLAIMS = 100
"""Numbers that a registration tries while others take them."""
SWAPS = 20
"""Times that the gate decides anew because the alias moved in between."""


def now() -> str:
    """Return the time, UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Registry:
    """Models, their versions and what is live.

    Parameters
    ----------
    store : ObjectStore
        The artifact bucket.
    clock : callable
        Returns the time as :func:`now` does.
    """

    def __init__(self, store: ObjectStore, clock: Callable[[], str] = now) -> None:
        self._store = store
        self._clock = clock

    # --- reading -------------------------------------------------------------------------------

    def models(self) -> list[str]:
        """Return the names of all models, sorted."""
        return list(self._store.list_folders(keys.MODELS))

    def numbers(self, model: str) -> list[int]:
        """Return the numbers of a model's versions, newest first; none for a model that is not there."""
        folders = self._store.list_folders(keys.versions(model))
        return sorted((int(name) for name in folders if name.isdecimal()), reverse=True)

    def version(self, model: str, number: int) -> Version:
        """Return one version.

        Raises
        ------
        NotFound
            There is none of that number.
        """
        try:
            data = self._store.get(keys.version(model, number, "version.json"))
        except NotFound:
            raise NotFound(
                f"The model {model!r} has no version {number}",
                code="version-unknown",
                remedy="GET /models/{name} lists its versions.",
            ) from None
        return decode(Version, json.loads(data))

    def live(self, model: str) -> Alias | None:
        """Return the model's alias ``live`` with its history; ``None`` before the first promotion."""
        return self._live(model)[0]

    def alias(self, model: str, name: str) -> Alias | None:
        """Return one of the model's aliases; ``None`` if there is none of that name."""
        try:
            return decode(Alias, json.loads(self._store.get(keys.alias(model, name))))
        except NotFound:
            return None

    # --- writing -------------------------------------------------------------------------------

    def register(
        self, draft: Version, plan: bytes, report: bytes | None = None, *, since: str = ""
    ) -> Version:
        """Make ``draft`` the model's next version; the same run always gets the same version.

        Parameters
        ----------
        draft : Version
            ``version``, ``created_at`` and what describes the files are set here.
        plan, report : bytes
            Copied to the version.
        since : str
            When the run began: versions older than that cannot be this run's and are not read.

        Returns
        -------
        Version
            As it is written.

        Raises
        ------
        TransientError
            Others took every number that was tried.
        """
        sha256 = hashlib.sha256(plan).hexdigest()
        version = self._of_run(draft.model, draft.run_id, since)
        if version is not None and version.plan_sha256 != sha256:
            # An earlier attempt of the run came this far, with other bytes. Versions never change: it
            # stands if it is complete, else its number stays empty.
            if self._is_complete(version):
                return version
            version = None
        if version is None:
            version = self._claim(
                replace(draft, plan_sha256=sha256, plan_bytes=len(plan), report=report is not None)
            )
        # After the claim, so that nobody else writes here; a retry that finds them written is content.
        self._add(keys.version(version.model, version.version, "model.plan"), plan)
        if report is not None and version.report:
            key = keys.version(version.model, version.version, "report.html")
            self._add(key, report, "text/html; charset=utf-8")
        return version

    def decide(self, version: Version, *, by: str) -> tuple[bool, str]:
        """Let the gate decide about ``version``, once, and move ``live`` if it says so.

        Returns
        -------
        promoted : bool
            The decision; also when it was made by an earlier call.
        reason : str
            Why, as a sentence.
        """
        for _ in range(SWAPS):
            alias, etag = self._live(version.model)
            for move in alias.history if alias else ():
                if move.version == version.version and move.action != "rolled-back":
                    return move.action == "promoted", move.why
            champion = self.version(version.model, alias.version) if alias else None
            verdict = judge(version, champion)
            try:
                self._move(version.model, alias, etag, _move_of(version, verdict, alias, self._clock(), by))
            except Conflict:
                continue
            return verdict.promote, verdict.reason
        raise TransientError(
            "The alias moved each time that the gate had decided",
            code="alias-busy",
            where=keys.alias(version.model),
            remedy="Try again.",
        )

    def promote(self, model: str, number: int, *, by: str, why: str) -> Alias:
        """Make ``number`` live, whatever the gate thinks; nothing happens when it is live already.

        Raises
        ------
        NotFound
            There is no such version.
        BadInput
            The version was claimed but never completed.
        Conflict
            Somebody else moved the alias at the same time.
        """
        if not self._is_complete(self.version(model, number)):
            raise BadInput(
                f"Version {number} has no plan: its registration did not finish",
                code="version-incomplete",
                remedy="Promote another version, or upload the file again.",
            )
        alias, etag = self._live(model)
        if alias and alias.version == number:
            return alias
        move = Move("promoted", number, alias.version if alias else None, self._clock(), by, why)
        return self._move(model, alias, etag, move)

    def rollback(self, model: str, *, by: str, why: str) -> Alias:
        """Make the version live that was so before the present one was promoted.

        Raises
        ------
        NotFound
            There is no such model, or nothing of it is live.
        BadInput
            There was none before it.
        Conflict
            Somebody else moved the alias at the same time.
        """
        alias, etag = self._live(model)
        if alias is None:
            raise NotFound(
                f"There is no model {model!r}, or no version of it is live",
                code="model-unknown",
                remedy="GET /models lists the models.",
            )
        target = alias.rollback_target
        if target is None:
            raise BadInput(
                f"No version of {model!r} was live before version {alias.version}",
                code="rollback-impossible",
                remedy="Promote the version that you want by its number.",
            )
        return self._move(
            model, alias, etag, Move("rolled-back", target, alias.version, self._clock(), by, why)
        )

    # --- inside --------------------------------------------------------------------------------

    def _live(self, model: str) -> tuple[Alias | None, str]:
        try:
            data, etag = self._store.get_with_etag(keys.alias(model))
        except NotFound:
            return None, ""
        return decode(Alias, json.loads(data)), etag

    def _move(self, model: str, alias: Alias | None, etag: str, move: Move) -> Alias:
        moved = alias.after(move) if alias else Alias(model, "live", move.version, (move,))
        data = _json(encode(moved))
        if alias is None:
            self._store.put(keys.alias(model), data, content_type=_JSON, only_if_absent=True)
        else:
            self._store.put(keys.alias(model), data, content_type=_JSON, only_if_etag=etag)
        return moved

    def _of_run(self, model: str, run_id: str, since: str) -> Version | None:
        for number in self.numbers(model):
            version = self.version(model, number)
            if version.run_id == run_id:
                return version
            if version.created_at < since:
                return None
        return None

    def _claim(self, draft: Version) -> Version:
        number = max(self.numbers(draft.model), default=0) + 1
        for attempt in range(number, number + CLAIMS):
            version = replace(draft, version=attempt, created_at=self._clock())
            key = keys.version(draft.model, attempt, "version.json")
            try:
                self._store.put(key, _json(encode(version)), content_type=_JSON, only_if_absent=True)
            except Conflict:
                taken = self.version(draft.model, attempt)
                if (taken.run_id, taken.plan_sha256) == (draft.run_id, draft.plan_sha256):
                    return taken  # the same call, at the same time
                continue
            return version
        raise TransientError(
            f"Others took {CLAIMS} version numbers in a row", code="versions-busy", remedy="Try again."
        )

    def _is_complete(self, version: Version) -> bool:
        try:
            self._store.head(keys.version(version.model, version.version, "model.plan"))
        except NotFound:
            return False
        return True

    def _add(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        try:
            self._store.put(key, data, content_type=content_type, only_if_absent=True)
        except Conflict:
            return


_JSON = "application/json"


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1).encode()


def _move_of(version: Version, verdict: Verdict, alias: Alias | None, at: str, by: str) -> Move:
    action: Literal["promoted", "held"] = "promoted" if verdict.promote else "held"
    return Move(action, version.version, alias.version if alias else None, at, by, verdict.reason)
