"""Checks of an installation, a dataset and a checkpoint that say what is wrong and which command fixes it."""
