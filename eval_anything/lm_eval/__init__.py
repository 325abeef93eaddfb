"""Bridge to lm-evaluation-harness: runs its tasks on our models, and gives it our models and tasks."""
