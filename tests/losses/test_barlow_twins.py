import pytest
import torch
from embeddings import random_pairs, value_and_gradients
from lightly.loss import BarlowTwinsLoss as LightlyBarlowTwinsLoss

from nnunet_pix2rep.losses.barlow_twins import barlow_twins, cross_correlation, plain_barlow_twins


@pytest.mark.parametrize("loss", [barlow_twins, plain_barlow_twins])
@pytest.mark.parametrize("redundancy_weight", [5e-3, 1.0])
def test_value_and_gradients_are_those_of_lightly(loss, redundancy_weight):
    pairs = random_pairs(40, 16)
    expected = value_and_gradients(LightlyBarlowTwinsLoss(redundancy_weight), *pairs)
    found = value_and_gradients(lambda z_1, z_2: loss(z_1, z_2, redundancy_weight), *pairs)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("num_rows", "num_channels"), [(2, 3), (9, 4), (50, 64)])
def test_value_and_gradients_are_those_of_the_plain_version(num_rows, num_channels):
    pairs = random_pairs(num_rows, num_channels, torch.float64)
    found, expected = (
        value_and_gradients(lambda z_1, z_2, loss=loss: loss(z_1, z_2, 0.3), *pairs)
        for loss in (barlow_twins, plain_barlow_twins)
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_the_gradient_scales_with_what_follows_the_loss():
    pairs = random_pairs(12, 5, torch.float64)
    _, *gradients = value_and_gradients(barlow_twins, *pairs)
    _, *scaled = value_and_gradients(lambda z_1, z_2: 3 * barlow_twins(z_1, z_2) + 1, *pairs)
    torch.testing.assert_close(scaled, [3 * gradient for gradient in gradients])


def test_the_gradient_is_that_of_the_value():
    pairs = [z.requires_grad_() for z in random_pairs(9, 4, torch.float64)]
    assert torch.autograd.gradcheck(lambda z_1, z_2: barlow_twins(z_1, z_2, 0.3), pairs)


def test_the_cross_correlation_is_that_of_torch():
    z_1, z_2 = random_pairs(200, 5, torch.float64)
    expected = torch.corrcoef(torch.cat([z_1, z_2], dim=1).T)[:5, 5:]
    torch.testing.assert_close(cross_correlation(z_1, z_2), expected, rtol=1e-4, atol=1e-4)


def test_identical_uncorrelated_channels_have_no_loss():
    z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert barlow_twins(z, z).item() == pytest.approx(0, abs=1e-6)


def test_channels_that_repeat_each_other_lose_by_the_redundancy_weight():
    z = torch.randn(100, 1).expand(100, 3)
    assert barlow_twins(z, z, redundancy_weight=0.1).item() == pytest.approx(0.1 * 6, rel=1e-3)


def test_scale_and_offset_of_a_channel_do_not_matter():
    z_1, z_2 = random_pairs(30, 4, torch.float64)
    scale, offset = torch.tensor([3.0, 20.0, 5.0, 2.0]), torch.tensor([-7.0, 0.0, 100.0, 1.0])
    torch.testing.assert_close(barlow_twins(z_1 * scale, z_2 + offset), barlow_twins(z_1, z_2), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_overflow_at_70000_rows(dtype):
    z_1, z_2 = random_pairs(70_000, 4, dtype)
    value, *gradients = value_and_gradients(barlow_twins, z_1, z_2)
    expected = barlow_twins(z_1.detach().double(), z_2.detach().double())
    torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-5)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
