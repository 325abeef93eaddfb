"""The regression gate: is this checkpoint worse, with known error rates?"""
