"""The distribute command."""
