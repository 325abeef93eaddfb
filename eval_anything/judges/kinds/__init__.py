"""Kinds of judges, one module each."""
