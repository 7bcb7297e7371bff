"""Bringing images of any common format into ``imagesUn`` of a dataset."""
