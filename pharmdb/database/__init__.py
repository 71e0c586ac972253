"""Targets, engines, transactions, locks, environments, bulk writes."""

# Applied revisions, whose files must not change, call it by this name.
from pharmdb.database.environments import refuse_production as refuse_production
