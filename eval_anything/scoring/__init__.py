"""Helpers for authors of scoring code."""
