"""predict: score rows with the live version of a model, with the standard library alone."""

from __future__ import annotations

import os

from millrace.edge.predict import Predict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from millrace.edge.predict.handler import Context

_predict = Predict(os.environ)


def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Answer ``POST /predict``, or the same body as a direct event."""
    return _predict(event, context)
