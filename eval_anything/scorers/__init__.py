"""Scorers: what turns a response into scores, one module a kind of judge."""
