"""Scenes of the micro world: perceived, rendered and put into words exactly."""
