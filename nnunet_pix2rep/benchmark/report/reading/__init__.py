"""What a benchmark folder holds, read and checked."""
