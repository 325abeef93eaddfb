"""Families of conversations, cycles, sequences and ablations: the makers of `micro_more`."""
