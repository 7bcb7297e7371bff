"""The networks that nnU-Net planned, and their pixel features."""
