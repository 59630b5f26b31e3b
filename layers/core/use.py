"""Use what the core layer carries: validate, log, route, and import every room that is meant for it."""

import importlib
import importlib.metadata
import json

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from backports import zstd
from pydantic import BaseModel


class Point(BaseModel):
    """Something to validate."""

    x: float


assert Point.model_validate_json('{"x": "1.5"}').x == 1.5
Logger(service="use").info("core layer in use")
assert Metrics(namespace="use", service="use").namespace == "use"
assert BatchProcessor(event_type=EventType.KinesisDataStreams).event_type is EventType.KinesisDataStreams
assert APIGatewayHttpResolver(enable_validation=True) is not None
assert importlib.metadata.version("aws-lambda-powertools") and importlib.metadata.version("pydantic")
assert zstd.decompress(zstd.compress(b"rows")) == b"rows"

contracts = importlib.import_module("millrace.contracts")
assert json.dumps(contracts.encode(contracts.Spec()))
