"""Training data: rows of prompts and ordered parts in any modality, as JSON lines with media beside
them.

`rows` has the types, `files` reads and writes them, `importers` and `convert` read the formats of other
projects, `contamination` finds prompts of benchmarks, `check` reports on a file. docs/training.md shows
the form.
"""
