"""Calibration: how far a judge agrees with labels, and what that does to the numbers it gives."""
