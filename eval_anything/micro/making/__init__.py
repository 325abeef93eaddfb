"""Makers of the micro world's content: samples, demonstrations, trained checkpoints."""
