"""What is compared: methods, draws of patients, lengths, the matrix of runs."""
