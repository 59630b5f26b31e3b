"""Benchmarks: each prints one JSON object as its last line, with our figures beside a peer's."""
