"""Attempts, progress, reviews: writing, reading, frames, charts, the inspect command."""
