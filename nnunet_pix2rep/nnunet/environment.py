"""Environment variables for a while."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

WANDB_SWITCH = "nnUNet_wandb_enabled"
"""nnU-Net's switch for Weights & Biases, read where a trainer's logger is made (nnunetv2 2.8.1,
training/logging/nnunet_logger.py)."""


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for a while."""
    earlier = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in earlier.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
