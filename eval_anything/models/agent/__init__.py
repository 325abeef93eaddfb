"""Agents: any chat model, with generators of media, as one any-to-any model."""
