"""Requests to judge models: presenting material, guarding it, asking, reading and caching verdicts."""
