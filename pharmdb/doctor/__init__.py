"""The doctor command."""
