"""The model report: one HTML page that needs nothing but itself."""

from millrace.report.page import render
from millrace.report.write import write_report

__all__ = ["render", "write_report"]
