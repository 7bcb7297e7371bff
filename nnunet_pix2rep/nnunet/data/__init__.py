"""Reading and writing nnU-Net's datasets: folders, raw images, preprocessed images."""
