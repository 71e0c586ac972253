"""Single accounts: looking one up, its role, its password, and deleting it."""
