"""What a drawn label file says: its case, its slices and its voxels on the grid of the image."""
