"""The backup and restore commands."""
