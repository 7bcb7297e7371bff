"""A complete run on a synthetic cardiac phantom or on the Sunnybrook data."""

DEFAULT_SEED = 4
"""The demo's settings and the size of its phantom were chosen on seed 0, so another one is shown."""
