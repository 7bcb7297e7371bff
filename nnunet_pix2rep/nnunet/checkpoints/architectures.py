"""Which of nnU-Net's architectures weights are of, by their names alone: an exported file holds no plans."""

from __future__ import annotations

import re
from collections.abc import Iterable

# dynamic_network_architectures 0.4.4, building_blocks: a stage of the encoder is a sequence of StackedConvBlocks with
# `convs`, or StackedResidualBlocks with `blocks`; so is one of the decoder
_PLAIN_ENCODER = re.compile(r"encoder\.stages\.\d+\.\d+\.convs\.")
_RESIDUAL_ENCODER = re.compile(r"encoder\.stages\.\d+\.blocks\.")
_RESIDUAL_DECODER = re.compile(r"decoder\.stages\.\d+\.blocks\.")


def architecture_of(keys: Iterable[str]) -> str | None:
    """Name of the class of the U-Net that has weights of these names; None: not one of nnU-Net's."""
    keys = list(keys)
    if any(map(_PLAIN_ENCODER.match, keys)):
        return "PlainConvUNet"
    if not any(map(_RESIDUAL_ENCODER.match, keys)):
        return None
    return "ResidualUNet" if any(map(_RESIDUAL_DECODER.match, keys)) else "ResidualEncoderUNet"
