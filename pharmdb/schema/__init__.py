"""Revisions, drift, dropping, fingerprints."""
