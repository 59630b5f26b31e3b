"""FastAPI as its documentation has it: a model of the request, one route, one worker of uvicorn."""

from __future__ import annotations

import os
from typing import Any

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = joblib.load(os.environ["MODEL_FILE"])


class Request(BaseModel):
    """Rows to score."""

    rows: list[dict[str, float | str | None]]


@app.post("/predict")
async def predict(request: Request) -> dict[str, Any]:
    """Score the rows of a request."""
    return {"predictions": model.predict(pd.DataFrame(request.rows)).tolist()}
