"""Checking finished labels and taking them into a dataset."""
