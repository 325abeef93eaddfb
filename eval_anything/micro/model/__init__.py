"""The model of the micro world: its vocabulary, codec, checkpoints, and the adapter that serves it."""
