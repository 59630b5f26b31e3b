"""A scikit-learn handler as tutorials write it: boto3 reads a joblib file, pandas makes the frame."""

from __future__ import annotations

import io
import json
import os
from typing import Any

import boto3
import joblib
import pandas as pd
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger()
metrics = Metrics()

found = boto3.client("s3").get_object(Bucket=os.environ["BUCKET"], Key=f"{os.environ['MODEL']}/model.joblib")
model = joblib.load(io.BytesIO(found["Body"].read()))


@logger.inject_lambda_context
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Score the rows of a request."""
    rows = json.loads(event["body"])["rows"]
    frame = pd.DataFrame(rows)
    if hasattr(model, "predict_proba"):
        answer = {"probabilities": model.predict_proba(frame).tolist()}
    else:
        answer = {"predictions": model.predict(frame).tolist()}
    metrics.add_metric(name="Rows", unit=MetricUnit.Count, value=len(rows))
    logger.info("predict", rows=len(rows))
    return {"statusCode": 200, "body": json.dumps(answer)}
