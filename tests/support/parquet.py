"""Reads Parquet files."""

from __future__ import annotations

from typing import Any

import duckdb


def parquet(sql: str) -> list[tuple[Any, ...]]:
    """The rows of a statement over Parquet files; it names them by their paths."""
    with duckdb.connect() as connection:
        return connection.execute(sql).fetchall()
