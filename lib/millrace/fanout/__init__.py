"""The fan-out protocol: descriptors, completion, failure."""

from millrace.fanout.descriptors import decode_descriptor, encode_descriptor, spread
from millrace.fanout.protocol import (
    Heartbeat,
    begin_pass,
    complete_chunk,
    fail_pass,
    heartbeats,
    newest_token,
    release_next,
)

__all__ = [
    "Heartbeat",
    "begin_pass",
    "complete_chunk",
    "decode_descriptor",
    "encode_descriptor",
    "fail_pass",
    "heartbeats",
    "newest_token",
    "release_next",
    "spread",
]
