"""Trainers of the self-supervised stage."""
