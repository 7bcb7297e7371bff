"""Random spatial transforms of 2D and 3D patches."""
