"""Translates what becomes of texts: Python counts the words, and only those that occur go on."""

from __future__ import annotations

import re
from array import array
from math import sqrt

from millrace.plan.kinds import WORD_PATTERN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from millrace.scoring.kernel.program import Block, Flow, Program

__all__ = ["KINDS"]


def _words(program: Program, spec: dict[str, Any], flow: Flow) -> Flow:
    """Weights of the words of one text (TF-IDF)."""
    find = re.compile(WORD_PATTERN).findall
    numbers = {term: i for i, term in enumerate(spec["terms"])}
    idf = None if spec["idf"] is None else program.arrays[spec["idf"]].tolist()
    lower, binary, norm = spec["lower"], spec["binary"], spec["norm"]
    texts = program.objects(flow[0])

    def weights(block: Block) -> tuple[array[int], array[int], array[float]]:
        starts, index, values = array("q", [0]), array("i"), array("d")
        for value in texts(block):
            counts: dict[int, float] = {}
            for word in find((value or "").lower() if lower else value or ""):
                number = numbers.get(word)
                if number is not None:
                    counts[number] = counts.get(number, 0.0) + 1.0
            # In the order of the terms: the order decides the last bit.
            found = sorted(counts)
            weights = [1.0 if binary else counts[number] for number in found]
            if idf is not None:
                weights = [weight * idf[number] for weight, number in zip(weights, found, strict=True)]
            if norm:
                squares = 0.0
                for weight in weights:
                    squares += weight * weight
                if squares:
                    length = sqrt(squares)
                    weights = [weight / length for weight in weights]
            index.extend(found)
            values.extend(weights)
            starts.append(len(index))
        return starts, index, values

    return program.sparse(weights, len(numbers))


KINDS = {"words": _words}
