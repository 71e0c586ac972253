"""The export command: Parquet files of the whole database, and analyses of them on one machine or on many."""
