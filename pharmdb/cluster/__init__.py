"""Onto a Citus cluster, and back."""
