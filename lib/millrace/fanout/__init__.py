"""The fan-out protocol: descriptors, completion, failure."""
