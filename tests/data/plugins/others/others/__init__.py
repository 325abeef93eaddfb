"""Plugins for the groups that examples/plugin leaves out."""
