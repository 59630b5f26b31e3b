"""What a row must look like to be trained on: the fields of a model's signature, and its target.

A value is accepted by the rule by which ``POST /predict`` and files to score read it, and then spelled as the
training file spells its column, so that training reads the very value that was accepted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from millrace import values
from millrace.errors import Unprocessable
from millrace.plan import Signature, convert

__all__ = ["Labelled"]

_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\ud800-\udfff]")
"""What no text file holds: control characters, by which it is taken for binary, and halves of characters."""


class Labelled:
    """Rows of one dataset, as its live version's training file had them.

    Parameters
    ----------
    signature : Signature
        The version's.
    target : mapping
        The target described like a field of a signature.
    """

    def __init__(self, signature: Signature, target: Mapping[str, Any]) -> None:
        self._fields = (*signature.fields, target)
        self._target = str(target["name"])
        self._names = {str(field["name"]) for field in self._fields}
        self._others = signature.known - self._names

    def cells(self, number: int, row: Mapping[str, Any]) -> tuple[dict[str, str], list[dict[str, object]]]:
        """Return the row's cells by column, those without a value left out, and what is wrong with it.

        Parameters
        ----------
        number : int
            The row's number in its record, for what is wrong.
        row : mapping
            Column to JSON value; texts are read as cells of a file.

        Returns
        -------
        cells : dict of str to str
            None of the values that are wrong.
        wrong : list of dict
            ``row``, ``field``, ``code`` and ``message`` each: ``value-type`` for a value that does not fit
            its field, ``target-missing``, ``class-unknown``, and ``field-unknown`` for what the dataset has
            no column for.
        """
        cells: dict[str, str] = {}
        wrong: list[dict[str, object]] = []

        def note(field: str, code: str, message: str) -> None:
            wrong.append({"row": number, "field": field[:200], "code": code, "message": message})

        for field in self._fields:
            name = str(field["name"])
            try:
                cell = _spelled(field, row.get(name))
            except Unprocessable as error:
                note(name, error.code, f"{error.what}. {error.remedy}")
                continue
            if name == self._target and not cell:
                note(name, "target-missing", "A row without its target cannot be learned from.")
            elif name == self._target and cell not in field.get("categories", (cell,)):
                note(name, "class-unknown", f"{cell!r:.60} is none of the model's classes.")
            elif cell:
                cells[name] = cell
        for name in row.keys() - self._names:
            if name not in self._others:
                note(name, "field-unknown", "The dataset has no such column. Check its spelling.")
                continue
            try:
                cell = _plain(name, row[name])
            except Unprocessable as error:
                note(name, error.code, f"{error.what}. {error.remedy}")
                continue
            if cell:
                cells[name] = cell
        wrong.sort(key=lambda one: str(one["field"]))
        return cells, wrong


def _spelled(field: Mapping[str, Any], value: Any) -> str:
    """Return a field's value as its column spells it; empty when it is missing.

    Raises
    ------
    Unprocessable
        ``POST /predict`` would refuse it, or the column cannot say it.
    """
    if isinstance(value, str):
        _check_text(str(field["name"]), value)
    converted, _ = convert(field, value)
    if converted is None or converted != converted:
        return ""
    for spelling in _spellings(field, value, converted):
        if _read(field, spelling) == converted:
            return spelling
    raise _refused(
        str(field["name"]), value, f"a value that the column's format {field.get('format')!r} can say"
    )


def _spellings(field: Mapping[str, Any], value: Any, converted: float | str) -> list[str]:
    """Return how the value might be written, the best way first."""
    if isinstance(value, str):
        spellings = [value]
    elif isinstance(converted, str):
        spellings = [converted]
    elif field["type"] == "boolean":
        spellings = ["true" if converted else "false"]
    else:
        plain = repr(float(value))
        spellings = [str(value), plain, f"{Decimal(plain):f}"]
        spellings += [spelling.replace(".", ",") for spelling in spellings]
        if field.get("format", "").endswith("%"):
            spellings = [spelling + "%" for spelling in spellings]
    if field["type"] == "time" and isinstance(converted, float):
        from datetime import UTC, datetime, timedelta

        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=converted)
        style = field.get("format") or "iso8601"
        spellings.append(moment.isoformat() if style == "iso8601" else moment.strftime(style))
    return spellings


def _read(field: Mapping[str, Any], text: str) -> float | str | None:
    """Read a cell as training will; ``None`` when it would be missing there."""
    kind, style = field["type"], field.get("format", "")
    try:
        if kind == "number":
            return values.parse_number(text, style)
        if kind == "boolean":
            return values.parse_boolean(text)
        if kind == "time":
            return values.parse_time(text, style or "iso8601")
    except ValueError:
        return None
    return None if values.is_missing(text) else text


def _plain(name: str, value: Any) -> str:
    """Return a value of a column that the model does not use: nobody says which type it has."""
    if value is None:
        return ""
    if isinstance(value, str):
        _check_text(name, value)
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() <= 256:
        return str(value)
    if isinstance(value, float) and value - value == 0.0:
        return repr(value)
    raise _refused(name, value, "a text, a number, true or false")


def _check_text(name: str, text: str) -> None:
    if found := _CONTROL.search(text):
        raise Unprocessable(
            f"The text has the character U+{ord(found[0]):04X}",
            code="value-type",
            where=f"field {name!r:.100}",
            remedy="Send texts without control characters.",
        )


def _refused(name: str, value: Any, wanted: str) -> Unprocessable:
    return Unprocessable(
        f"{value!r:.60} is not {wanted}",
        code="value-type",
        where=f"field {name!r:.100}",
        remedy=f"Send {wanted}, or null when it is not known.",
    )
