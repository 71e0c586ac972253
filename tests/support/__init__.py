"""What the tests share: databases, raw sessions, old files, a browser, harm."""
