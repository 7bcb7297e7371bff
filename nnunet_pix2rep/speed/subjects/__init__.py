"""What it is measured on: synthetic datasets, planned by nnU-Net, and trainers on them."""
