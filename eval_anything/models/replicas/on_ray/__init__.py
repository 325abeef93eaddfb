"""Replicas as actors of Ray Core, on one machine or many."""
