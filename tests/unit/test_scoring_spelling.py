"""Numbers as the kernel spells them: as Python does."""

from __future__ import annotations

import math
import random
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.scoring import fastest
from millrace.scoring.kernel import Unavailable, spelling
from millrace.scoring.kernel.spelling import spelled


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_a_number_is_spelled_as_python_spells_it(numbers: list[float]) -> None:
    assert spelled(numbers) == list(map(repr, numbers))


def test_numbers_of_any_bits() -> None:
    bits = random.Random(0).randbytes(8 * 200_000)
    numbers = [number for number in struct.unpack("200000d", bits) if math.isfinite(number)]
    numbers += [10.0**power for power in range(-323, 309)]
    numbers += [math.nextafter(10.0**power, side) for power in range(-307, 308) for side in (0.0, math.inf)]
    numbers += [float(number) for number in range(-1000, 1000)] + [number / 1000 for number in range(20_000)]
    numbers += [
        0.0,
        -0.0,
        5e-324,
        2.2250738585072014e-308,
        1.7976931348623157e308,
        2.0**53,
        2.0**53 + 2,
        1e22,
        1e23,
    ]
    assert spelled(numbers) == list(map(repr, numbers))


@pytest.mark.parametrize("there", [True, False])
def test_what_json_cannot_say_is_null(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not there:

        def missing() -> None:
            raise Unavailable("none")

        monkeypatch.setattr(spelling, "library", missing)
    numbers = [1.5, math.nan, math.inf, -math.inf, -0.25]
    assert spelled(numbers) == ["1.5", "null", "null", "null", "-0.25"]
    rows = np.asarray([numbers[:2], [math.inf, 2.0], [-0.25, 1e-7]])
    text, offsets = fastest.lines(rows, "§")
    assert text.tobytes().decode() == "1.5§\n§2.0\n-0.25§1e-07\n"
    assert offsets.tolist() == [0, 6, 12, 25]
    # These do not lie in one piece, and are whole numbers.
    assert fastest.lines(np.arange(9).reshape(3, 3)[::-2, ::2], ",")[0].tobytes() == b"6.0,8.0\n0.0,2.0\n"
    assert fastest.lines(np.empty((0, 2)), ",")[1].tolist() == [0]
    assert spelled([]) == []
    with pytest.raises(TypeError):
        spelled([None])  # type: ignore[list-item]
