"""The registry over one bucket: conditional writes and nothing else.

::

    models/<model>/versions/<n>/version.json   claims the number: written only if absent
    models/<model>/versions/<n>/model.plan     written only if absent
    models/<model>/versions/<n>/report.html    written only if absent, as is all that lies beside
    models/<model>/aliases/<alias>.json        written only if it is still what was read
    models/<model>/deleted/<n>.json            written only if absent: the version is deleted, or about to be

A version may not be deleted while an alias names it, and no alias may be moved to one that is deleted. Two
objects cannot be changed at once, so each side writes first and looks afterwards: ``delete`` writes its note
and then reads the aliases, ``promote`` moves the alias and then looks for a note. Whichever comes second
sees the other, and takes its own step back.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from millrace import keys
from millrace.contracts import ObjectStore, decode, encode
from millrace.errors import BadInput, Conflict, NotFound, TransientError
from millrace.registry.gate import Verdict, judge
from millrace.registry.versions import Alias, Deletion, Move, Version

__all__ = ["Registry", "now"]

CLAIMS = 100
"""Numbers that a registration tries while others take them."""
SWAPS = 100
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
        return self.alias(model, "live")

    def alias(self, model: str, name: str) -> Alias | None:
        """Return one of the model's aliases with its history; ``None`` if there is none of that name."""
        return self._alias(model, name)[0]

    def aliases(self, model: str) -> list[Alias]:
        """Return all aliases of a model, by name."""
        found = [decode(Alias, json.loads(self._store.get(key))) for key in self._alias_keys(model)]
        return sorted(found, key=lambda alias: alias.alias)

    def deleted(self, model: str) -> frozenset[int]:
        """Return the numbers of the versions that are deleted."""
        names = (key.rpartition("/")[2] for key in self._store.list(keys.deletions(model)))
        return frozenset(int(name.removesuffix(".json")) for name in names)

    def deletion(self, model: str, number: int) -> Deletion | None:
        """Return who deleted a version, when and why; ``None`` when it is there."""
        try:
            return decode(Deletion, json.loads(self._store.get(keys.deletion(model, number))))
        except NotFound:
            return None

    # --- writing -------------------------------------------------------------------------------

    def register(
        self,
        draft: Version,
        plan: bytes,
        report: bytes | None = None,
        *,
        beside: Mapping[str, bytes] | None = None,
        since: str = "",
    ) -> Version:
        """Make ``draft`` the model's next version; the same run always gets the same version.

        Parameters
        ----------
        draft : Version
            ``version``, ``created_at`` and what describes the files are set here.
        plan, report : bytes
            Copied to the version.
        beside : mapping of str to bytes
            What is kept with the version, by name; it outlives the run's files.
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
        # Listed once: a number that the same run takes from here on is above all of these, and so is met.
        numbers = self.numbers(draft.model)
        version = self._of_run(draft.model, draft.run_id, numbers, since)
        if version is not None and self.deletion(version.model, version.version):
            return version
        if version is not None and version.plan_sha256 != sha256:
            # An earlier attempt of the run came this far, with other bytes. Versions never change: it
            # stands if it is complete, else its number stays empty.
            if self._is_complete(version):
                return version
            version = None
        if version is None:
            version = self._claim(
                max(numbers, default=0) + 1,
                replace(draft, plan_sha256=sha256, plan_bytes=len(plan), report=report is not None),
            )
        # After the claim, so that nobody else writes here; a retry that finds them written is content. The
        # plan is last: a version that has one is complete.
        for name, data in (beside or {}).items():
            kind = _JSON if name.endswith(".json") else "application/octet-stream"
            self._add(keys.version(version.model, version.version, name), data, kind)
        if report is not None and version.report:
            key = keys.version(version.model, version.version, "report.html")
            self._add(key, report, "text/html; charset=utf-8")
        self._add(keys.version(version.model, version.version, "model.plan"), plan)
        return version

    def decide(
        self, version: Version, *, by: str, gate: Callable[[Version | None], Verdict] | None = None
    ) -> tuple[bool, str]:
        """Let the gate decide about ``version``, once, and move ``live`` if it says so.

        Parameters
        ----------
        version : Version
            The new one.
        by : str
            Who asks.
        gate : callable
            Judges the version against what is live; it is asked again when that has moved meanwhile. Without
            one the recorded scores decide.

        Returns
        -------
        promoted : bool
            The decision; also when it was made by an earlier call.
        reason : str
            Why, as a sentence.
        """
        for _ in range(SWAPS):
            alias, etag = self._alias(version.model)
            for move in alias.history if alias else ():
                if move.version == version.version and move.action != "rolled-back":
                    return move.action == "promoted", move.why
            champion = self.version(version.model, alias.version) if alias else None
            verdict = gate(champion) if gate else judge(version, champion)
            if alias is None and not verdict.promote:  # nothing is live, so there is no alias to note it on
                return False, verdict.reason
            try:
                self._move(
                    version.model, "live", alias, etag, _move_of(version, verdict, alias, self._clock(), by)
                )
            except Conflict:
                continue
            return verdict.promote, verdict.reason
        raise TransientError(
            "The alias moved each time that the gate had decided",
            code="alias-busy",
            where=keys.alias(version.model),
            remedy="Try again.",
        )

    def promote(self, model: str, number: int, *, by: str, why: str, alias: str = "live") -> Alias:
        """Let an alias name ``number``, whatever the gate thinks; nothing happens when it does already.

        Raises
        ------
        NotFound
            There is no such version.
        BadInput
            The version is deleted, or was claimed but never completed.
        Conflict
            Somebody else moved the alias, or deleted the version, at the same time.
        """
        self._check_usable(self.version(model, number))
        found, etag = self._alias(model, alias)
        if found and found.version == number:
            return found
        move = Move("promoted", number, found.version if found else None, self._clock(), by, why)
        return self._move(model, alias, found, etag, move)

    def rollback(self, model: str, *, by: str, why: str, alias: str = "live") -> Alias:
        """Let an alias name the version again that it named before the present one was promoted.

        Raises
        ------
        NotFound
            There is no such model, or it has no such alias.
        BadInput
            There was none before it, or that one is deleted.
        Conflict
            Somebody else moved the alias, or deleted the version, at the same time.
        """
        found, etag = self._alias(model, alias)
        if found is None:
            raise NotFound(
                f"There is no model {model!r}, or no version of it is {alias}",
                code="model-unknown",
                remedy="GET /models lists the models.",
            )
        target = found.rollback_target
        if target is None:
            raise BadInput(
                f"No version of {model!r} was {alias} before version {found.version}",
                code="rollback-impossible",
                remedy="Promote the version that you want by its number.",
            )
        self._check_usable(self.version(model, target))
        move = Move("rolled-back", target, found.version, self._clock(), by, why)
        return self._move(model, alias, found, etag, move)

    def delete(self, model: str, number: int, *, by: str, why: str) -> Deletion:
        """Delete a version that no alias names; its number is never given again, and ``version.json`` stays.

        Deleting it again changes nothing, but completes a deletion that was broken off.

        Raises
        ------
        NotFound
            There is no such version.
        Conflict
            ``version-in-use``: an alias names it.
        """
        self.version(model, number)
        key = keys.deletion(model, number)
        note = Deletion(number, self._clock(), by, why)
        try:
            self._store.put(key, _json(encode(note)), content_type=_JSON, only_if_absent=True)
        except Conflict:
            note = self.deletion(model, number) or note
        users = [alias.alias for alias in self.aliases(model) if alias.version == number]
        if users:
            self._store.delete(key)
            raise Conflict(
                f"Version {number} of {model!r} is {' and '.join(users)}",
                code="version-in-use",
                where=f"models/{model}/aliases",
                remedy="Promote another version first, or roll back.",
            )
        # The plan is first: without it the version can neither answer nor be promoted.
        for name in (
            "model.plan",
            "report.html",
            "report.json",
            "schema.json",
            "evaluation.json",
            keys.TRAINED_ON,
            keys.STATE,
        ):
            self._store.delete(keys.version(model, number, name))
        return note

    # --- inside --------------------------------------------------------------------------------

    def _alias(self, model: str, name: str = "live") -> tuple[Alias | None, str]:
        try:
            data, etag = self._store.get_with_etag(keys.alias(model, name))
        except NotFound:
            return None, ""
        return decode(Alias, json.loads(data)), etag

    def _alias_keys(self, model: str) -> list[str]:
        return list(self._store.list(keys.aliases(model)))

    def _move(self, model: str, name: str, alias: Alias | None, etag: str, move: Move) -> Alias:
        moved = alias.after(move) if alias else Alias(model, name, move.version, (move,))
        etag = self._swap(moved, etag)
        if move.action != "held" and self.deletion(model, move.version):
            self._take_back(moved, alias, etag)
            raise Conflict(
                f"Version {move.version} of {model!r} was deleted at the same time",
                code="version-deleted",
                where=f"models/{model}/aliases/{name}",
                remedy="Choose another version.",
            )
        return moved

    def _swap(self, alias: Alias, etag: str) -> str:
        """Write an alias if it is still the one with the etag, or still absent; return its new etag."""
        data, key = _json(encode(alias)), keys.alias(alias.model, alias.alias)
        if not etag:
            return self._store.put(key, data, content_type=_JSON, only_if_absent=True)
        return self._store.put(key, data, content_type=_JSON, only_if_etag=etag)

    def _take_back(self, moved: Alias, before: Alias | None, etag: str) -> None:
        """Let the alias be as it was, unless somebody has moved it on."""
        if before is None:
            self._store.delete(keys.alias(moved.model, moved.alias))
            return
        with contextlib.suppress(Conflict):
            self._swap(before, etag)

    def _check_usable(self, version: Version) -> None:
        if self.deletion(version.model, version.version):
            raise BadInput(
                f"Version {version.version} is deleted",
                code="version-deleted",
                remedy="Promote another version by its number.",
            )
        if not self._is_complete(version):
            raise BadInput(
                f"Version {version.version} has no plan: its registration did not finish",
                code="version-incomplete",
                remedy="Promote another version, or upload the file again.",
            )

    def _of_run(self, model: str, run_id: str, numbers: Sequence[int], since: str) -> Version | None:
        for number in numbers:
            version = self.version(model, number)
            if version.run_id == run_id:
                return version
            if version.created_at < since:
                return None
        return None

    def _claim(self, number: int, draft: Version) -> Version:
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

    def note_trial(self, version: Version, verdict: bytes) -> None:
        """Keep what the gate looked at, as JSON, with the version; the first verdict stays."""
        self._add(keys.version(version.model, version.version, "gate.json"), verdict, _JSON)

    def verdict(self, model: str, number: int) -> Any:
        """Return what the gate looked at; ``None`` for a version that it never judged."""
        try:
            return json.loads(self._store.get(keys.version(model, number, "gate.json")))
        except NotFound:
            return None

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
