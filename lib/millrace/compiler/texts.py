"""Compiles what becomes of texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from millrace.compiler.common import Arrays, Step, expect, not_covered
from millrace.plan.kinds import MAX_HASHES, MAX_NGRAM, WORD_PATTERN

__all__ = ["ENCODERS"]

_TOKENS = {"word": "words", "char": "characters", "char_wb": "within-words"}


def _tokens(vectorizer: Any) -> dict[str, Any]:
    from millrace.features.transformers import lower_text

    expect(
        vectorizer,
        input=("content",),
        analyzer=tuple(_TOKENS),
        tokenizer=(None,),
        preprocessor=(None, lower_text),
        strip_accents=(None, "ascii", "unicode"),
    )
    words = vectorizer.analyzer == "word"
    if words:
        expect(vectorizer, token_pattern=(WORD_PATTERN,))
    fewest, most = vectorizer.ngram_range
    if not 1 <= fewest <= most <= MAX_NGRAM:
        raise not_covered(f"{type(vectorizer).__name__}(ngram_range={vectorizer.ngram_range!r})")
    # A preprocessor takes the place of both.
    ours = vectorizer.preprocessor is lower_text
    return {
        "tokens": _TOKENS[vectorizer.analyzer],
        "lower": ours or bool(vectorizer.lowercase),
        "accents": None if ours else vectorizer.strip_accents,
        "stop": sorted(vectorizer.get_stop_words() or ()) if words else [],
        "ngrams": [fewest, most],
        "binary": bool(vectorizer.binary),
    }


def _weights(transformer: Any, arrays: Arrays) -> dict[str, Any]:
    expect(transformer, norm=("l1", "l2", None))
    return {
        "idf": arrays.floats(transformer.idf_) if transformer.use_idf else None,
        "norm": transformer.norm,
        "sublinear": bool(transformer.sublinear_tf),
    }


def _words(vectorizer: Any, weights: dict[str, Any]) -> list[Step]:
    terms = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    cut = _tokens(vectorizer)
    if cut["ngrams"] == [1, 1] and not vectorizer.vocabulary_.keys() & set(cut["stop"]):
        cut["stop"] = []  # what is no term does not count anyway
    return [{"kind": "words", "terms": terms, **cut, **weights}]


def _tfidf_vectorizer(vectorizer: Any, arrays: Arrays) -> list[Step]:
    expect(vectorizer, dtype=(np.float64,))
    return _words(vectorizer, _weights(vectorizer, arrays))


def _count_vectorizer(vectorizer: Any, arrays: Arrays) -> list[Step]:
    expect(vectorizer, dtype=(np.int64, np.int32, np.float64))
    return _words(vectorizer, {"idf": None, "norm": None, "sublinear": False})


def _hashing_vectorizer(vectorizer: Any, arrays: Arrays) -> list[Step]:
    expect(vectorizer, dtype=(np.float64,), norm=("l1", "l2", None))
    return [_hash(vectorizer, _tokens(vectorizer), vectorizer.norm)]


def _feature_hasher(hasher: Any, arrays: Arrays) -> list[Step]:
    expect(hasher, dtype=(np.float64,), input_type=("string",))
    inputs = {"lower": False, "accents": None, "stop": [], "ngrams": [1, 1], "binary": False}
    return [_hash(hasher, {"tokens": "inputs", **inputs}, None)]


def _hash(hasher: Any, tokens: dict[str, Any], norm: str | None) -> Step:
    width = int(hasher.n_features)
    if width > MAX_HASHES:
        name = type(hasher).__name__
        raise not_covered(f"{name}(n_features={width})", f"Set n_features to at most {MAX_HASHES}.")
    return {"kind": "hash", "width": width, "signed": bool(hasher.alternate_sign), "norm": norm, **tokens}


def _tfidf_transformer(transformer: Any, arrays: Arrays) -> list[Step]:
    return [{"kind": "weigh", **_weights(transformer, arrays)}]


ENCODERS: dict[str, Callable[[Any, Arrays], list[Step]]] = {
    "TfidfVectorizer": _tfidf_vectorizer,
    "CountVectorizer": _count_vectorizer,
    "HashingVectorizer": _hashing_vectorizer,
    "FeatureHasher": _feature_hasher,
    "TfidfTransformer": _tfidf_transformer,
}
