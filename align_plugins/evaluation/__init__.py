"""Evaluation of checkpoints while a training runs, and the report at its end."""
