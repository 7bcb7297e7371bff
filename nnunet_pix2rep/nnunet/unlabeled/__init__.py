"""Images without labels: adding them to a dataset, preprocessing them, and the pool that trainings draw from."""
