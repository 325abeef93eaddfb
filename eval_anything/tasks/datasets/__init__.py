"""Data sets that are not bundled: declared in task.yaml, found, fetched, read into samples."""
