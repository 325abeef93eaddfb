"""Pairs of answers with exact labels: noisy answers, preference pairs, labels for calibration."""
