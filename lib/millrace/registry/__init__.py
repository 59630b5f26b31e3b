"""Versions that never change, aliases moved by compare-and-swap, and the gate between them."""
