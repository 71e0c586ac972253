"""A Django application with our seven tables, as a baseline of the benchmarks."""
