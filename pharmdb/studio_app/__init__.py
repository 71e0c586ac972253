"""The studio: browse and edit the database in a notebook or as a separate web page."""
