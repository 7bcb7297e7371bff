"""Losses between paired pixel embeddings."""
