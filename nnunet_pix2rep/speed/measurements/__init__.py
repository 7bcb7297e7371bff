"""What is measured: head and loss, a step, loaders and epochs, a whole pretraining."""
