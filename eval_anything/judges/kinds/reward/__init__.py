"""Reward models: reading a prompt with a response, and running scalar heads on it."""
