"""What the peers are: programs, handlers and servers that run in environments of their own, never in ours."""
