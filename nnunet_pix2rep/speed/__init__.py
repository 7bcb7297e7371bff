"""What a pretraining costs on this machine, in ratios to named peers."""
