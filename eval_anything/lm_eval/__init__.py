"""lm-evaluation-harness both ways: its tasks on our models, our models and tasks inside it."""
