"""The model report: one HTML page that needs nothing but itself."""

from millrace.report.page import render

__all__ = ["render"]
