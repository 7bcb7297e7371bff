"""A complete run on a synthetic cardiac phantom or on the Sunnybrook data."""
