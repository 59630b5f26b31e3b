"""BentoML as its documentation has it: one service, one worker."""

from __future__ import annotations

import os
from typing import Any

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=1)
class Predict:
    """Serves the model."""

    def __init__(self) -> None:
        self._model = joblib.load(os.environ["MODEL_FILE"])

    @bentoml.api
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """Score the rows of a request."""
        return self._model.predict(pd.DataFrame(rows)).tolist()  # type: ignore[no-any-return]
