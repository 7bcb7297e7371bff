"""What a fold trains on, and the loaders that cut patches and make views."""
