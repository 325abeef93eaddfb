"""Prompts of the micro world with their right answers, by family, and language feedback on answers."""
