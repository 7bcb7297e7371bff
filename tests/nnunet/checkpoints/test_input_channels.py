"""The first convolution for another number of input channels: what the network computes stays the same."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import small_network
from timm.models import adapt_input_conv

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import SEGMENTATION_KEY_PART
from nnunet_pix2rep.nnunet.checkpoints.input_channels import (
    adapt_input_channels,
    adapt_input_convolution,
    input_convolution_keys,
)
from nnunet_pix2rep.nnunet.checkpoints.transfer import transfer_weights

SOURCE = Path("pretrained.pth")
SETTING = "finetuning.other_input_channels"
ARCHITECTURES = ("plain", "residual_encoder", "residual")


def transfer(pretrained, network, lines=None, **options):
    """Loads all that is not of the segmentation layers, and these too, so that whole networks can be compared."""
    weights = pretrained.state_dict()
    log = (lines if lines is not None else []).append
    result = transfer_weights({"network_weights": weights}, network, SOURCE, log, **options)
    heads = {key: value for key, value in weights.items() if SEGMENTATION_KEY_PART in key}
    network.load_state_dict(heads, strict=False)
    return result


# ------------------------------------------------------------------------------------------------------ one convolution


@pytest.mark.parametrize("channels", [1, 2, 4, 6, 7])
def test_the_rule_is_timms_where_timm_has_one(channels):
    weight = torch.randn(5, 3, 3, 3)
    torch.testing.assert_close(adapt_input_convolution(weight, channels), adapt_input_conv(channels, weight.clone()))


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(1, 4), st.sampled_from([2, 3]))
def test_an_image_in_all_channels_gives_what_it_gave_where_the_number_is_a_multiple(given_channels, factor, dimension):
    weight = torch.randn(2, given_channels, *[3] * dimension)
    image = torch.randn(1, 1, *[5] * dimension)
    convolve = (torch.nn.functional.conv2d, torch.nn.functional.conv3d)[dimension - 2]
    before = convolve(image.expand(1, given_channels, *image.shape[2:]), weight)
    for channels in {given_channels * factor, 1}:
        after = convolve(image.expand(1, channels, *image.shape[2:]), adapt_input_convolution(weight, channels))
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_numbers_that_do_not_divide_repeat_in_turn_and_keep_the_scale():
    weight = torch.tensor([1.0, 2.0, 4.0]).reshape(1, 3, 1, 1)
    adapted = {channels: adapt_input_convolution(weight, channels).flatten().tolist() for channels in (2, 4)}
    assert adapted == {2: pytest.approx([1.5, 3.0]), 4: pytest.approx([0.75, 1.5, 3.0, 0.75])}


def test_half_precision_stays_half_precision():
    weight = torch.full((1, 3, 1, 1), 0.1, dtype=torch.float16)
    assert adapt_input_convolution(weight, 1).dtype == torch.float16


# ------------------------------------------------------------------------------------------------------- whole networks


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("before", "after"), [(1, 2), (1, 4), (2, 1), (4, 1), (2, 4)])
def test_an_image_in_all_channels_gives_the_same_segmentations(architecture, dimension, before, after):
    pretrained = small_network(architecture, dimension, num_input_channels=before).eval()
    network = small_network(architecture, dimension, num_input_channels=after).eval()
    adapted = transfer(pretrained, network, adapt_channels=True).adapted
    assert set(adapted) == input_convolution_keys(network)
    image = torch.randn(2, 1, *[16] * dimension)
    with torch.no_grad():
        expected, found = (
            one(image.expand(-1, channels, *image.shape[2:]))
            for one, channels in ((pretrained, before), (network, after))
        )
    assert len(found) == len(expected) == 2  # deep supervision
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_weights_of_the_input_are_those_that_differ_between_numbers_of_channels(architecture):
    shapes = [
        {key: value.shape for key, value in small_network(architecture, num_input_channels=n).state_dict().items()}
        for n in (1, 2)
    ]
    differing = {key for key in shapes[0] if shapes[0][key] != shapes[1][key]}
    network = small_network(architecture, num_input_channels=2)
    assert input_convolution_keys(network) == differing
    assert any(key.startswith("decoder.encoder.") for key in differing)


def test_nnunet_names_the_same_input_convolution():
    for architecture in ("plain", "residual_encoder"):
        network = small_network(architecture)
        own = {key for key in input_convolution_keys(network) if not key.startswith("decoder.")}
        assert own == {f"{key}.weight" for key in network.keys_to_in_proj}


def test_equal_numbers_adapt_nothing():
    network = small_network()
    weights, adapted = adapt_input_channels(network.state_dict(), network)
    assert adapted == {}
    assert all(torch.equal(weights[key], value) for key, value in network.state_dict().items())


# ----------------------------------------------------------------------------------------------------------- the report


def test_every_adapted_tensor_is_reported_with_its_shapes_and_how():
    lines = []
    result = transfer(small_network(), small_network(num_input_channels=2), lines, adapt_channels=True)
    key = "encoder.stages.0.0.convs.0.conv.weight"
    how = "its input channel repeated for 2, multiplied by 1/2"
    assert f"  adapted: {key} from shape (4, 1, 3, 3) to (4, 2, 3, 3): {how}" in lines
    assert sum(text.startswith("  adapted: ") for text in lines) == len(result.adapted) == 4
    assert result.to_record()["adapted_tensors"][key] == [[4, 1, 3, 3], [4, 2, 3, 3]]


@pytest.mark.parametrize(
    ("before", "after", "how"),
    [
        (4, 1, "sum over its 4 input channels"),
        (4, 3, "the first 3 of its 4 input channels, multiplied by 4/3"),
        (4, 7, "its 4 input channels in turn repeated for 7, multiplied by 4/7"),
    ],
)
def test_how_says_what_was_done(before, after, how):
    adapted = adapt_input_channels(
        small_network(num_input_channels=before).state_dict(), small_network(num_input_channels=after)
    )[1]
    assert {tensor.how for tensor in adapted.values()} == {how}


# ---------------------------------------------------------------------------------------------------------- the refusal


def test_without_the_request_the_refusal_names_the_setting_and_nothing_is_loaded():
    network = small_network(num_input_channels=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    with pytest.raises(UserError, match=rf"1 there and 2 here.*--set {SETTING}=adapt. Nothing was loaded"):
        transfer(small_network(), network, setting=SETTING)
    assert not any(parameter.any() for parameter in network.parameters())


def test_other_differences_do_not_suggest_the_setting():
    other = small_network(num_input_channels=2, channels=[5, 6, 8])
    for adapt in (False, True):
        with pytest.raises(UserError, match="Pretrain with the same plans") as caught:
            transfer(small_network(), other, setting=SETTING, adapt_channels=adapt)
        assert SETTING not in str(caught.value)


@pytest.mark.parametrize(
    ("found", "wanted", "names"),
    [
        ("plain", "residual_encoder", "It is a PlainConvUNet, and these plans ask for a ResidualEncoderUNet"),
        ("residual_encoder", "plain", "It is a ResidualEncoderUNet, and these plans ask for a PlainConvUNet"),
        ("plain", "residual", "It is a PlainConvUNet, and these plans ask for a ResidualUNet"),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_another_kind_of_blocks_is_refused_with_both_names(found, wanted, names, channels):
    network = small_network(wanted, num_input_channels=channels)
    for adapt in (False, True):
        with pytest.raises(UserError, match=rf"{names}.*use plans with a \w+ here"):
            transfer(small_network(found), network, setting=SETTING, adapt_channels=adapt)


def test_a_plain_and_a_residual_network_share_no_tensor_of_their_encoders():
    """Why there is no transfer between them: equal names and shapes are found in the decoder alone."""
    plain, residual = (small_network(name).state_dict() for name in ("plain", "residual_encoder"))
    shared = {key for key in plain if key in residual and plain[key].shape == residual[key].shape}
    assert shared
    assert all(key.startswith("decoder.") and not key.startswith("decoder.encoder.") for key in shared)
