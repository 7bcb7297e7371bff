import pytest
import torch
from embeddings import random_pairs, value_and_gradients
from lightly.loss import VICRegLoss as LightlyVICRegLoss

from nnunet_pix2rep.losses.vicreg import vicreg


@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_value_and_gradients_are_those_of_lightly(weights):
    pairs = random_pairs(40, 16)
    expected = value_and_gradients(LightlyVICRegLoss(*weights), *pairs)
    found = value_and_gradients(lambda z_1, z_2: vicreg(z_1, z_2, *weights), *pairs)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_pairs_at_a_distance_of_one_in_one_of_two_channels_have_the_loss_worked_out_by_hand():
    """Channels of variance 4 / 3 without covariance: half of the invariance weight is left."""
    z_1 = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    z_2 = z_1 + torch.tensor([1.0, 0.0])
    assert vicreg(z_1, z_2).item() == pytest.approx(25 * 0.5)


def test_collapse_costs_the_whole_weight_of_the_variance():
    constant = torch.ones(50, 8)
    assert vicreg(constant, constant).item() == pytest.approx(25 * (1 - 1e-2), rel=1e-5)
    spread, _ = random_pairs(50, 8)
    assert vicreg(2 * spread, 2 * spread) < vicreg(constant, constant)


def test_channels_that_repeat_each_other_cost_by_their_covariance():
    z = torch.randn(1000, 1, dtype=torch.float64).expand(1000, 4)
    variance = z[:, 0].var().item()
    assert vicreg(z, z, 0, 0, 0.5).item() == pytest.approx(0.5 * 2 * 12 * variance**2 / 4)


def test_gradient_steps_lead_away_from_collapse():
    generator = torch.Generator().manual_seed(0)
    z_1 = (1 + 1e-2 * torch.randn(64, 8, generator=generator)).requires_grad_()
    z_2 = z_1.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([z_1, z_2], lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        vicreg(z_1, z_2).backward()
        optimizer.step()
    assert z_1.detach().std(dim=0).min() > 0.3
