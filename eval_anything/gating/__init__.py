"""The regression gate: tests whether a checkpoint is worse than its baseline, with known error rates."""
