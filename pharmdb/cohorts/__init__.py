"""The cohort command: synthetic learners."""
