"""What the application needs to work on this database: its schema.prisma, its client."""
