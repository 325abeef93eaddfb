"""Training data: rows of prompts and ordered parts in any modality, as JSON lines with media beside.

`rows` has the types and their files, `foreign` reads other projects' fields, `contamination` finds
prompts of benchmarks. docs/training.md shows the form.
"""
