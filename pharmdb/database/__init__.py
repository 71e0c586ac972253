"""Targets, engines, transactions, locks, environments, bulk writes."""

# Applied revisions, whose files must not change, import it under this name.
from pharmdb.database.environments import refuse_production as refuse_production
