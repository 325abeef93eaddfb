"""Makes the micro world's content: samples, demonstrations, trained checkpoints. Not in the wheel."""
