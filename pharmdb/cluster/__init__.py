"""The tables on the nodes of a Citus cluster: where they are, the plan to place them, and carrying it out."""
