"""Whole training steps of Undertow and its peers, side by side in one run: ``python -m benchmarks.training --help``."""
