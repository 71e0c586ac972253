"""The cohort command, which adds synthetic learners."""
