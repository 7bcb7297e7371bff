"""Features of the slices that a pretraining gives, and the pool that selectors choose from."""
