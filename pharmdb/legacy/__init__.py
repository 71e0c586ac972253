"""The upgrade command: from an old Prisma database to the current schema."""
