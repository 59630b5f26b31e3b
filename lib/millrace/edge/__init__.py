"""Settings, wiring, observability, cost, and the mapping of errors to HTTP."""
