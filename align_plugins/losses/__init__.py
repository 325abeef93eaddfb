"""Losses as pure functions of log-probabilities and rewards: each with its formula and its source."""
