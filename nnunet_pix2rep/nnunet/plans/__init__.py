"""nnU-Net's plans files with this package's settings, and the compact configuration for small machines."""
