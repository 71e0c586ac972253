"""The studio: browse and edit the database in a notebook or as a page of its own."""
