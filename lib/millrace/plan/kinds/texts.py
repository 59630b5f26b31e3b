"""What becomes of texts.

``words``
    ``terms``: each is an output. A document is cut into tokens, as below, and those that are terms are
    counted. ``binary``: whether a count is at most 1; ``sublinear``: whether it becomes 1 + its logarithm (if
    there is one); ``idf``: array that multiplies it, or null; ``norm``: ``"l1"``, ``"l2"`` or null, which
    divides the document's outputs unless it is 0.
``hash``
    The same for ``width`` outputs, of which a token is counted at its hash (MurmurHash3, x86, 32 bits, seed
    0), with ``signed`` as -1 when that is negative. No ``terms``, ``sublinear`` and ``idf``.
``weigh``
    ``sublinear``, ``idf`` and ``norm`` for counts that are there already.

Tokens are ``"words"``, which are the matches of :data:`millrace.plan.kinds.WORD_PATTERN`, ``"characters"``,
``"within-words"``, for which a word has a blank at both ends, or ``"inputs"``, where each input that is not
missing is one. ``lower``: whether letters become small ones first; ``accents``: ``"unicode"`` or ``"ascii"``,
what is then left of a letter with accents, or null; ``stop``: words that do not count; ``ngrams``: fewest and
most words or characters in a row that make a token. In files of protocol 1 ``words`` has ``lower``, of tokens
nothing else, no ``sublinear``, and a ``norm`` that is true or false.
"""

from __future__ import annotations

from millrace.plan.kinds import MAX_HASHES, MAX_NGRAM, array, fits, indices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS", "with_defaults"]

_DEFAULTS = {"tokens": "words", "accents": None, "stop": [], "ngrams": [1, 1], "sublinear": False}


def with_defaults(step: dict[str, Any]) -> dict[str, Any]:
    """Return the members of ``words`` as they are today, whatever the file's protocol."""
    norm = step["norm"]
    return {**_DEFAULTS, **step, "norm": ("l2" if norm else None) if norm.__class__ is bool else norm}


def _words(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    step = with_defaults(step)
    fits(all(isinstance(term, str) for term in step["terms"]), "words.terms")
    _tokens(step, flow)
    _weights(step, len(step["terms"]), arrays)
    return "n" * len(step["terms"])


def _hash(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    indices([step["width"]], MAX_HASHES + 1, "hash.width", 1)
    fits(type(step["signed"]) is bool and step["norm"] in ("l1", "l2", None), "hash.signed")
    _tokens(step, flow)
    return "n" * int(step["width"])


def _weigh(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    fits("s" not in flow, "weigh")
    _weights(step, len(flow), arrays)
    return flow


def _tokens(step: dict[str, Any], flow: str) -> None:
    fits(step["tokens"] in ("words", "characters", "within-words", "inputs"), "words.tokens")
    fits("n" not in flow and (flow == "s" or step["tokens"] == "inputs"), "words")
    fits(type(step["lower"]) is bool and type(step["binary"]) is bool, "words.lower")
    fits(step["accents"] in ("unicode", "ascii", None), "words.accents")
    fits(isinstance(step["stop"], list) and all(isinstance(word, str) for word in step["stop"]), "words.stop")
    fewest, most = step["ngrams"]
    indices([most], MAX_NGRAM + 1, "words.ngrams")
    indices([fewest], most + 1, "words.ngrams", 1)


def _weights(step: dict[str, Any], width: int, arrays: Sequence[memoryview]) -> None:
    fits(type(step["sublinear"]) is bool and step["norm"] in ("l1", "l2", None), "words.norm")
    if step["idf"] is not None:
        array(arrays, step["idf"], "d", width, "words.idf")


KINDS = {"words": _words, "hash": _hash, "weigh": _weigh}
