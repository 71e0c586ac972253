"""Measures the figures in docs/performance.md: `make bench`."""
