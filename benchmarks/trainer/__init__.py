"""Django's own application for our seven tables: a peer of the benchmarks."""
