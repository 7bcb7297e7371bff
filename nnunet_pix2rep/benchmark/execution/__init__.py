"""Doing one run and measuring it."""
