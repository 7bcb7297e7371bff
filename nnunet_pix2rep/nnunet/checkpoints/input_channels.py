"""Weights of a network with another number of input channels: the first convolution is adapted as timm does.

``timm.models.adapt_input_conv`` does it for two-dimensional convolutions of color images; this is the same rule for any
number of channels and dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from nnunet_pix2rep.nnunet.checkpoints.files import WeightComparison
from nnunet_pix2rep.nnunet.networks.decoder_features import UNet


@dataclass(frozen=True)
class AdaptedTensor:
    """A tensor that was adapted to another number of input channels.

    Attributes:
        found: Its shape in the checkpoint.
        wanted: Its shape in the network.
    """

    found: tuple[int, ...]
    wanted: tuple[int, ...]

    @property
    def how(self) -> str:
        """What was done, for the log."""
        before, after = self.found[1], self.wanted[1]
        if after == 1:
            return f"sum over its {before} input channels"
        times = f"multiplied by {before}/{after}"
        if after < before:
            return f"the first {after} of its {before} input channels, {times}"
        repeated = "its input channel" if before == 1 else f"its {before} input channels in turn"
        return f"{repeated} repeated for {after}, {times}"


def adapt_input_convolution(weight: torch.Tensor, num_channels: int) -> torch.Tensor:
    """The weights of a convolution for another number of input channels.

    For one channel they are summed over the input channels: an image then gives what the given convolution makes of
    the same image in all of its channels. Otherwise they are repeated, or cut off, and rescaled by the ratio of the
    numbers, so that an image in all channels gives what it gave before; exactly so where the new number is a multiple
    of the given one.

    Args:
        weight: (O, C, *K).
        num_channels: The new number of input channels.

    Returns:
        (O, num_channels, *K), of the type of ``weight``.
    """
    given = weight.shape[1]
    exact = weight.double()
    if num_channels == 1:
        return exact.sum(dim=1, keepdim=True).to(weight.dtype)
    repeats = [1, math.ceil(num_channels / given)] + [1] * (weight.dim() - 2)
    return (exact.repeat(repeats)[:, :num_channels] * (given / num_channels)).to(weight.dtype)


def input_convolution_keys(network: UNet) -> set[str]:
    """Names, in the ``state_dict``, of the weights of the convolution that reads the images.

    It is the encoder's first one, and nnU-Net's networks name its weights several times. No other convolution reads the
    images: residual encoders have a stem before their blocks (dynamic_network_architectures 0.4.4, unet.py).
    """
    first = next(module for module in network.encoder.modules() if isinstance(module, _ConvNd))
    return {name for name, tensor in network.state_dict(keep_vars=True).items() if tensor is first.weight}


def differ_in_channels(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether two shapes of a convolution's weights, (O, C, *K), differ in the number of input channels alone."""
    return found[1:2] != wanted[1:2] and (found[:1], found[2:]) == (wanted[:1], wanted[2:])


def adapt_input_channels(
    weights: Mapping[str, torch.Tensor], network: nn.Module
) -> tuple[dict[str, torch.Tensor], dict[str, AdaptedTensor]]:
    """Adapts the weights of the input convolution where they differ from a network's in the number of channels alone.

    Returns:
        All weights; and by name what was adapted.
    """
    own = network.state_dict()
    result, adapted = dict(weights), {}
    for key in sorted(input_convolution_keys(network) & weights.keys()):
        found, wanted = tuple(weights[key].shape), tuple(own[key].shape)
        if differ_in_channels(found, wanted):
            result[key] = adapt_input_convolution(weights[key], wanted[1])
            adapted[key] = AdaptedTensor(found, wanted)
    return result, adapted


def differ_in_input_channels_alone(comparison: WeightComparison, network: nn.Module) -> bool:
    """Whether all weights of another shape are those that :func:`adapt_input_channels` adapts; there must be one."""
    mismatched = comparison.mismatched
    return bool(mismatched) and all(
        key in input_convolution_keys(network) and differ_in_channels(found, wanted)
        for key, (found, wanted) in mismatched.items()
    )
