"""What became of a model's fields: between two versions, or between the live one and a new file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from millrace.contracts import Schema
from millrace.errors import Unprocessable
from millrace.plan import convert
from millrace.registry.versions import Version

__all__ = ["Change", "Interface", "changes", "of_schema", "of_version"]

ALIKE = 0.8
"""Shared part of two columns' categories, or of their ranges, above which one may be the other renamed."""

Fields = Sequence[Mapping[str, Any]]
Kind = Literal[
    "added", "missing", "renamed", "retyped", "respelled", "class-added", "class-gone", "target", "task"
]


@dataclass(frozen=True)
class Interface:
    """What those who call a model rely on."""

    target: str
    task: str
    fields: Fields
    """As :mod:`millrace.plan.signature` describes them."""
    classes: tuple[str, ...] = ()
    required: Collection[str] = ()
    """Fields that no row of training lacked, so that the model never learned to do without."""


@dataclass(frozen=True)
class Change:
    """One difference.

    Attributes
    ----------
    kind : str
        What happened.
    column : str
        Its name before; of an added one its name.
    before, after : str
        What differs: names, types, formats or classes.
    rejects : bool
        Whether a request that is answered today would be refused, or answered by a guess.
    says : str
        The change as a sentence.
    """

    kind: Kind
    column: str
    before: str
    after: str
    rejects: bool
    says: str


def of_version(version: Version, schema: Schema | None = None) -> Interface:
    """Return what those who call a version rely on; of the schema, which fields no row lacked."""
    required = () if schema is None else of_schema(schema).required
    return Interface(version.target, version.task, version.signature, version.classes, required)


def of_schema(schema: Schema) -> Interface:
    """Return what those will rely on who call a model that is trained under a schema."""
    return Interface(
        schema.target,
        schema.task,
        [column.field for column in schema.features],
        schema.classes,
        frozenset(column.name for column in schema.features if not column.missing),
    )


def changes(old: Interface, new: Interface) -> tuple[Change, ...]:
    """Return what differs, in the order of the old fields and then of the new ones.

    A field that is gone and one that came count as one renamed when both have the same type, and the same
    name but for case and punctuation, or for the most part the same categories or range.
    """
    before = {field["name"]: field for field in old.fields}
    after = {field["name"]: field for field in new.fields}
    gone = [field for name, field in before.items() if name not in after]
    came = [field for name, field in after.items() if name not in before]
    found = [*_of_target(old, new)]
    renamed: dict[str, str] = {}
    for field in gone:
        same = next((other for other in came if _is_renamed(field, other)), None)
        if same is not None:
            came.remove(same)
            renamed[field["name"]] = same["name"]
    for name, field in before.items():
        now = after.get(renamed.get(name, name))
        if now is None:
            says = f"The column {name!r} is missing: requests that send it are answered without it."
            found.append(Change("missing", name, str(field["type"]), "", False, says))
            continue
        if name in renamed:
            needed = now["name"] in new.required
            says = f"The column {name!r} is probably called {now['name']!r} now"
            says += ": today's requests do not have it." if needed else ": today's requests lack it."
            found.append(Change("renamed", name, name, str(now["name"]), needed, says))
        found += _of_field(field, now)
    for field in came:
        name, needed = str(field["name"]), field["name"] in new.required
        says = f"The column {name!r} is new" + (
            " and never empty: today's requests do not have it." if needed else "; a request may do without."
        )
        found.append(Change("added", name, "", str(field["type"]), needed, says))
    return tuple(found)


def _of_target(old: Interface, new: Interface) -> Iterator[Change]:
    kinds: tuple[tuple[Literal["target", "task"], str, str], ...] = (
        ("target", old.target, new.target),
        ("task", old.task, new.task),
    )
    for kind, before, after in kinds:
        if before != after:
            says = f"The {kind} is {after!r} and was {before!r}."
            yield Change(kind, old.target, before, after, True, says)
    if old.task == new.task and old.target == new.target:
        for name in sorted(set(old.classes) - set(new.classes)):
            says = f"The class {name!r} is gone: it will not be predicted any more."
            yield Change("class-gone", old.target, name, "", True, says)
        for name in sorted(set(new.classes) - set(old.classes)):
            says = f"The class {name!r} is new: callers will meet it."
            yield Change("class-added", old.target, "", name, False, says)


def _of_field(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Yield how one field's type or spelling changed; that its range or categories did is every day's."""
    name, before, after = str(old["name"]), str(old["type"]), str(new["type"])
    if before != after:
        # A text takes every word that a category did, and the other way round what is unknown is only unseen.
        words = {before, after} == {"category", "text"}
        says = f"The column {name!r} is {after} and was {before}."
        yield Change("retyped", name, before, after, not words, says)
    elif old.get("format", "") != new.get("format", ""):
        before, after = str(old.get("format") or "plain"), str(new.get("format") or "plain")
        refused = before != "plain" or old["type"] == "time"
        says = f"The column {name!r} is spelled as {after} and was as {before}."
        yield Change("respelled", name, before, after, refused or _refuses(new, old), says)


def _refuses(field: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Tell whether values that the old field saw do not convert to the new one."""
    for value in (old.get("minimum"), old.get("maximum")):
        try:
            convert(field, None if value is None else repr(value))
        except Unprocessable:
            return True
    return False


def _is_renamed(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    if old["type"] != new["type"]:
        return False
    if _plain(old["name"]) == _plain(new["name"]):
        return True
    if old["type"] == "category":
        before, after = set(old.get("categories", ())), set(new.get("categories", ()))
        return len(before & after) > 1 and len(before & after) >= ALIKE * len(before | after)
    if "minimum" not in old or "minimum" not in new:
        return False
    low, high = max(old["minimum"], new["minimum"]), min(old["maximum"], new["maximum"])
    most = max(old["maximum"], new["maximum"]) - min(old["minimum"], new["minimum"])
    return bool(most > 0 and (high - low) / most >= ALIKE)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()
