"""Generators of media; the kinds are entry points of `eval_anything.generators`."""
