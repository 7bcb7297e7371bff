"""Many commands in one process, which starts up once: nnU-Net's classes are called instead of its console scripts."""
