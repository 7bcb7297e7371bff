"""Everything that knows nnU-Net's insides."""
