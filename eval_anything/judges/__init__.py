"""Judges: their folders, the kinds of judges, and how good each is (calibration)."""
