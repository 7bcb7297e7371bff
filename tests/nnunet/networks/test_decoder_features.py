from dataclasses import replace

import pytest
import torch
from dynamic_network_architectures.architectures.primus import PrimusS
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from small_networks import CHANNELS, small_network
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from nnunet_pix2rep.config import HeadConfig, PretrainingConfig, SamplingConfig
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.networks.decoder_features import (
    SUPPORTED_ARCHITECTURES,
    DecoderFeatures,
    build_pixel_embedder,
    unwrap,
)

CONFIG = PretrainingConfig(head=HeadConfig(hidden_channels=8, channels=8))
NETWORKS = [("plain", 2), ("plain", 3), ("residual_encoder", 2), ("residual_encoder", 3), ("residual", 2)]
each_network = pytest.mark.parametrize(("architecture", "dimension"), NETWORKS)


def images_for(dimension, num_channels=1):
    return torch.randn(2, num_channels, *[16] * dimension)


def under_the_segmentation_layers(network, images):
    """What nnU-Net's own forward feeds into each segmentation layer, coarsest first."""
    captured = {}
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, index=index: captured.update({index: inputs[0]}))
        for index, layer in enumerate(network.decoder.seg_layers)
    ]
    network(images)
    for hook in hooks:
        hook.remove()
    return [captured[index] for index in range(len(hooks))]


@each_network
def test_features_are_the_tensors_under_the_segmentation_layers_of_nnunets_own_forward(architecture, dimension):
    network, images = small_network(architecture, dimension), images_for(dimension)
    expected = under_the_segmentation_layers(network, images)
    assert [feature_map.shape[-1] for feature_map in expected] == [8, 16]
    for features, wanted in (("hypercolumn", expected), ("last_stage", expected[-1:])):
        found = DecoderFeatures(network, features)(images)
        assert len(found) == len(wanted)
        for ours, theirs in zip(found, wanted, strict=True):
            assert torch.equal(ours, theirs)


@each_network
def test_features_do_not_depend_on_deep_supervision(architecture, dimension):
    network, images = small_network(architecture, dimension), images_for(dimension)
    with_supervision = DecoderFeatures(network, "hypercolumn")(images)
    network.decoder.deep_supervision = False
    for ours, theirs in zip(DecoderFeatures(network, "hypercolumn")(images), with_supervision, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("features", "expected"), [("hypercolumn", CHANNELS[0] + CHANNELS[1]), ("last_stage", CHANNELS[0])]
)
def test_the_number_of_channels_is_that_of_the_features(features, expected):
    feature_network = DecoderFeatures(small_network(), features)
    assert feature_network.num_channels == expected
    assert sum(feature_map.shape[1] for feature_map in feature_network(images_for(2))) == expected


@each_network
def test_the_planned_network_keeps_its_keys_shapes_and_values(architecture, dimension):
    network = small_network(architecture, dimension)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    embedder = build_pixel_embedder(network, CONFIG)
    after = embedder.feature_network.planned.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


@each_network
@pytest.mark.parametrize("features", ["hypercolumn", "last_stage"])
def test_gradients_reach_every_weight_but_those_of_the_segmentation_layers(architecture, dimension, features):
    config = replace(CONFIG, sampling=SamplingConfig(features=features))
    embedder = build_pixel_embedder(small_network(architecture, dimension), config)
    points = torch.rand(2, 40, dimension) * 2 - 1
    embedder(images_for(dimension), points).square().mean().backward()
    for name, parameter in embedder.named_parameters():
        is_segmentation_layer = ".seg_layers." in name
        assert parameter.requires_grad != is_segmentation_layer, name
        assert (parameter.grad is None) == is_segmentation_layer, name
    # a bias before a normalization has no effect: its gradient is zero but for rounding
    weights = [p for name, p in embedder.named_parameters() if p.grad is not None and name.endswith("weight")]
    assert all(weight.grad.abs().max() > 0 for weight in weights)


def test_embeddings_have_the_configured_width_for_any_number_of_input_channels():
    embedder = build_pixel_embedder(small_network(num_input_channels=3), replace(CONFIG, head=HeadConfig(8, 5)))
    assert embedder(images_for(2, num_channels=3), torch.rand(2, 7, 2) * 2 - 1).shape == (14, 5)


@pytest.mark.parametrize("dimension", [2, 3])
def test_autocast_gives_nearly_the_same_embeddings(dimension):
    embedder = build_pixel_embedder(small_network("plain", dimension), CONFIG)
    images, points = images_for(dimension), torch.rand(2, 40, dimension) * 2 - 1
    with torch.no_grad():
        exact = embedder(images, points)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = embedder(images, points)
    assert rounded.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(exact, rounded.float()).min() > 0.95


class RenamedUNet(PlainConvUNet):
    """The same layers under another name: whoever derives from a U-Net may have changed its forward."""


def transformer():
    return PrimusS(input_channels=1, output_channels=2, patch_embed_size=(8, 8, 8), input_shape=(16, 16, 16))


def u_net_of_another_name():
    network = small_network()
    network.__class__ = RenamedUNet
    return network


@pytest.mark.parametrize(
    ("build", "name"), [(transformer, "PrimusS"), (u_net_of_another_name, "RenamedUNet"), (nn.Identity, "Identity")]
)
def test_any_other_architecture_is_refused_by_name(build, name):
    with pytest.raises(UserError, match=rf"{name}\..*{', '.join(SUPPORTED_ARCHITECTURES)}"):
        build_pixel_embedder(build(), CONFIG)


def test_a_u_net_without_a_decoder_is_refused():
    network = small_network()
    del network.decoder.transpconvs
    with pytest.raises(UserError, match="PlainConvUNet"):
        build_pixel_embedder(network, CONFIG)


def test_unwrapping_finds_the_network_inside_torch_compile_and_ddp(tmp_path):
    network = small_network()
    assert unwrap(network) is network
    assert unwrap(torch.compile(network, backend="eager")) is network
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'init'}", rank=0, world_size=1)
    try:
        assert unwrap(DistributedDataParallel(torch.compile(network, backend="eager"))) is network
    finally:
        torch.distributed.destroy_process_group()
