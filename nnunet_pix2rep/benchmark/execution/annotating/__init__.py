"""Making annotation sets: choosing their slices, and a preprocessed dataset in which only these are annotated."""
