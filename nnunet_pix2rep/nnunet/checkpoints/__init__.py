"""Checkpoint files, the hand-over of weights, the leak guard, and the exchange with nnssl."""
