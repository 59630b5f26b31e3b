"""The scoring plan: the one artifact that serving reads. Reading it executes nothing.

``read`` and ``write`` are the file format, ``Signature`` is what a row must look like. The rooms ``scoring``
evaluate a plan, and the compiler makes one. Everything here runs inside ``predict``: the standard library
alone, and little of it.
"""

from __future__ import annotations

from millrace.plan.format import MAX_PLAN_BYTES, PROTOCOL, Plan, read, write
from millrace.plan.signature import Signature, convert

__all__ = ["MAX_PLAN_BYTES", "PROTOCOL", "Plan", "Signature", "convert", "read", "write"]
