"""Annotation planning: which slices to annotate, and from scans without labels to a model."""
