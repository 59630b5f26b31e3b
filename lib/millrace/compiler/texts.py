"""Compiles what becomes of texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from millrace.compiler.common import Arrays, Step, expect
from millrace.plan.kinds import WORD_PATTERN

__all__ = ["ENCODERS"]


def _tfidf_vectorizer(vectorizer: Any, arrays: Arrays) -> list[Step]:
    from millrace.features.transformers import lower_text

    expect(
        vectorizer,
        analyzer=("word",),
        ngram_range=((1, 1),),
        tokenizer=(None,),
        preprocessor=(None, lower_text),
        strip_accents=(None,),
        token_pattern=(WORD_PATTERN,),
        vocabulary=(None,),
        norm=("l2", None),
        sublinear_tf=(False,),
        dtype=(np.float64,),
    )
    terms = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    return [
        {
            "kind": "words",
            "terms": terms,
            "idf": arrays.floats(vectorizer.idf_) if vectorizer.use_idf else None,
            "lower": vectorizer.preprocessor is lower_text or bool(vectorizer.lowercase),
            "binary": bool(vectorizer.binary),
            "norm": vectorizer.norm is not None,
        }
    ]


ENCODERS: dict[str, Callable[[Any, Arrays], list[Step]]] = {
    "TfidfVectorizer": _tfidf_vectorizer,
}
