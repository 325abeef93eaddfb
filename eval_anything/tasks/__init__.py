"""Tasks and suites: folders found, read and checked."""
