"""Generations of a deployment: how far each is, how one ends, how the next one begins."""
