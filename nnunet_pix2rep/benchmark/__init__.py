"""Benchmarks: accuracy over numbers of labeled patients, and speed."""
