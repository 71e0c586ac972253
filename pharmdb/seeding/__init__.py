"""Seed files, passwords, the seed and reset commands."""
