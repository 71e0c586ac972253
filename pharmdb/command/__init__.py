"""The `pharmdb` program."""
