"""Every hyper-parameter of Pix2Rep: default, range, meaning and source.

The values come from the optional block ``"pix2rep"`` of a configuration in nnU-Net's plans file::

    "configurations": {"2d": {..., "pix2rep": {"pretraining": {"num_epochs": 200, "head": {...}}, "finetuning": {...}}}}

A missing block, part or key means the default. Sources named below: v1 = Pix2Rep (MIDL 2024, arXiv 2407.20395), v2 =
Pix2Rep-v2 (arXiv 2609.01427), nnU-Net = nnunetv2 2.8.1, nnUNetTrainer.py.
"""

from nnunet_pix2rep.config.block import BLOCK_NAME, Pix2RepConfig
from nnunet_pix2rep.config.finetuning import FinetuningConfig
from nnunet_pix2rep.config.merge import parse_settings
from nnunet_pix2rep.config.pretraining import (
    BarlowTwinsConfig,
    HeadConfig,
    InfoNCEConfig,
    MaskedAutoencoderConfig,
    OptimizationConfig,
    PretrainingConfig,
    SamplingConfig,
    VICRegConfig,
    ViewsConfig,
)

__all__ = [
    "BLOCK_NAME",
    "BarlowTwinsConfig",
    "FinetuningConfig",
    "HeadConfig",
    "InfoNCEConfig",
    "MaskedAutoencoderConfig",
    "OptimizationConfig",
    "Pix2RepConfig",
    "PretrainingConfig",
    "SamplingConfig",
    "VICRegConfig",
    "ViewsConfig",
    "parse_settings",
]
