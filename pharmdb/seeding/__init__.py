"""Seed files, password hashes, and the seed and reset commands."""
