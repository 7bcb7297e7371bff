"""Benchmarks: accuracy over numbers of labelled patients, and speed."""
