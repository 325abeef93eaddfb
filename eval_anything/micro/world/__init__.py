"""The micro world: what exists in it, seen, heard, rendered and put into words exactly."""
