"""Attempts, progress and reviews: recording, queries, dataframes, charts, and the inspect command."""
