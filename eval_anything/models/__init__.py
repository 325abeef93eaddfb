"""Models: whatever turns messages into a response. One class each, found by entry points."""
