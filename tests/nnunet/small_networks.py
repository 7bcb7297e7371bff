"""nnU-Net's U-Nets, small enough for tests."""

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet, ResidualUNet
from torch import nn

CHANNELS = [4, 6, 8]


def small_network(architecture="plain", dimension=2, num_classes=3, num_input_channels=1, channels=None):
    """A U-Net with three stages, deep supervision on, and the weights of seed 0."""
    torch.manual_seed(0)
    cls = {"plain": PlainConvUNet, "residual_encoder": ResidualEncoderUNet, "residual": ResidualUNet}[architecture]
    blocks = "n_conv_per_stage" if architecture == "plain" else "n_blocks_per_stage"
    return cls(
        input_channels=num_input_channels,
        n_stages=3,
        features_per_stage=channels or CHANNELS,
        conv_op=(nn.Conv2d, nn.Conv3d)[dimension - 2],
        kernel_sizes=3,
        strides=[1, 2, 2],
        num_classes=num_classes,
        conv_bias=True,
        norm_op=(nn.InstanceNorm2d, nn.InstanceNorm3d)[dimension - 2],
        norm_op_kwargs={"affine": True},
        nonlin=nn.LeakyReLU,
        deep_supervision=True,
        n_conv_per_stage_decoder=[1, 2],
        **{blocks: 2},
    )
