"""Setting a benchmark up and starting its runs, here or on a cluster."""
