"""The migrate command."""
