"""Trainers of the supervised stage."""
