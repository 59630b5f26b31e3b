"""Import ``predict``'s handler and load the kernel with nothing but its own zip on the path."""

import importlib
import os
import sys

os.environ.setdefault("MILLRACE_ARTIFACT_BUCKET", "bucket")
os.environ.setdefault("MILLRACE_STAGE", "use")
assert callable(importlib.import_module("app").handler)
assert importlib.import_module("millrace.scoring.kernel.library").library()
assert os.access(importlib.import_module("millrace.aws.lean").ROOTS, os.R_OK)
heavy = {"boto3", "botocore", "numpy", "pandas", "sklearn", "pydantic", "aws_lambda_powertools", "pickle"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
