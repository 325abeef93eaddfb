"""Training methods, one module or folder each."""
