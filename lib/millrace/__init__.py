"""Millrace: drop a CSV in a bucket, get a tested model behind ``POST /predict``."""

__version__ = "0.1.0"
