"""What all trainers share: checkpoints that survive, signals, threads."""
