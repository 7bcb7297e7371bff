"""Which slices to annotate: pixel features of a pretraining, a selector, and a folder to draw in."""
