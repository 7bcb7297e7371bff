"""Commands that make datasets ready: scans in, plans, preprocessing, checks of the environment."""
