"""nnU-Net trainers, one class per file, found through the environment variable nnUNet_extTrainer."""
