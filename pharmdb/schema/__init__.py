"""The database schema: revisions, drift, dropping all objects, fingerprints."""
