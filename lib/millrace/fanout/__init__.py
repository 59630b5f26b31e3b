"""The fan-out protocol: descriptors, completion, failure."""

from millrace.fanout.descriptors import decode_descriptor, encode_descriptor, spread
from millrace.fanout.protocol import (
    Heartbeat,
    begin_pass,
    claim_chunk,
    complete_chunk,
    fail_pass,
    heartbeats,
    release_next,
    report_complete,
)

__all__ = [
    "Heartbeat",
    "begin_pass",
    "claim_chunk",
    "complete_chunk",
    "decode_descriptor",
    "encode_descriptor",
    "fail_pass",
    "heartbeats",
    "release_next",
    "report_complete",
    "spread",
]
