"""Saved outputs as a model."""
