import itertools

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnunet_pix2rep.config import BarlowTwinsConfig, HeadConfig, InfoNCEConfig, PretrainingConfig
from nnunet_pix2rep.losses.barlow_twins import BarlowTwinsLoss
from nnunet_pix2rep.losses.info_nce import InfoNCELoss
from nnunet_pix2rep.pretraining import PixelEmbedder, WarmupCosineSchedule
from nnunet_pix2rep.projection_head import ProjectionHead
from nnunet_pix2rep.sampling import features_at_points

SMALL_HEAD = PretrainingConfig(head=HeadConfig(hidden_channels=12, channels=10))


class TwoMaps(nn.Module):
    """Feature maps at full and half resolution."""

    def __init__(self, dimension=2):
        super().__init__()
        convolution = (nn.Conv2d, nn.Conv3d)[dimension - 2]
        self.fine = convolution(1, 4, 3, padding=1)
        self.coarse = convolution(4, 6, 2, stride=2)

    def forward(self, images):
        fine = self.fine(images).relu()
        return [self.coarse(fine), fine]


def embedder(dimension=2):
    torch.manual_seed(0)
    return PixelEmbedder(TwoMaps(dimension), 10, SMALL_HEAD)


@pytest.mark.parametrize("dimension", [2, 3])
def test_embeddings_have_one_row_for_every_point_of_every_image(dimension):
    images, points = torch.randn(3, 1, *[8] * dimension), torch.rand(3, 5, dimension) * 2 - 1
    assert embedder(dimension).pixel_features(images, points).shape == (3, 5, 10)
    assert embedder(dimension)(images, points).shape == (15, 10)


def test_rows_follow_image_by_image():
    network = embedder().eval()
    images, points = torch.randn(3, 1, 8, 8), torch.rand(3, 5, 2) * 2 - 1
    together = network(images, points)
    one_by_one = torch.cat([network(images[[i]], points[[i]]) for i in range(3)])
    torch.testing.assert_close(together, one_by_one)


def test_pixel_features_are_those_of_all_maps_at_the_place_of_the_pixel():
    network = embedder()
    images = torch.randn(1, 1, 8, 8)
    coarse, fine = network.feature_network(images)
    row, column = 3, 6
    center = torch.tensor([[[(2 * column + 1) / 8 - 1, (2 * row + 1) / 8 - 1]]])
    features = network.pixel_features(images, center)[0, 0]
    torch.testing.assert_close(features[6:], fine[0, :, row, column])
    # the pixel lies a quarter of a coarse voxel before the center of (1, 3) upwards: 1.25 and 2.75 in coarse voxels
    rows = 0.75 * coarse[0, :, 1] + 0.25 * coarse[0, :, 2]
    torch.testing.assert_close(features[:6], 0.25 * rows[:, 2] + 0.75 * rows[:, 3])


@pytest.mark.parametrize("loss_class", [InfoNCELoss, BarlowTwinsLoss])
def test_training_steps_make_the_loss_fall(loss_class):
    network, loss = embedder(), loss_class.from_config(SMALL_HEAD)
    images = torch.randn(4, 1, 16, 16)
    views = torch.cat([images, -images + 0.1 * torch.randn_like(images)])
    points = (torch.rand(4, 30, 2) * 2 - 1).repeat(2, 1, 1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        value = loss(*network(views, points).chunk(2))
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.9 * values[0]


def test_gradients_reach_every_weight():
    network = embedder()
    images, points = torch.randn(2, 1, 8, 8), torch.rand(2, 9, 2) * 2 - 1
    network(images, points).square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_losses_are_built_with_their_settings():
    config = PretrainingConfig(
        info_nce=InfoNCEConfig(temperature=0.1, chunk_size=7, negatives=20), barlow_twins=BarlowTwinsConfig(0.2)
    )
    info_nce = InfoNCELoss.from_config(config)
    assert (info_nce.temperature, info_nce.chunk_size, info_nce.negatives) == (0.1, 7, 20)
    assert BarlowTwinsLoss.from_config(config).redundancy_weight == 0.2


def test_the_head_treats_every_pixel_alike():
    head = ProjectionHead(5, 7, 3)
    features = torch.randn(20, 5)
    order = torch.randperm(20)
    torch.testing.assert_close(head(features)[order], head(features[order]))
    assert head(features).shape == (20, 3)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("sizes", [(2, 16), (16, 2), (16,), (2, 3), (2,)])
def test_the_head_may_come_before_the_sampling_of_a_coarse_map(dimension, sizes):
    """Values and gradients are those of the joined features, whichever of the maps are coarse."""
    torch.manual_seed(0)
    maps = [torch.randn(3, 9 + size, *[size] * dimension, requires_grad=True) for size in sizes]
    points = torch.rand(3, 40, dimension) * 2 - 1
    head = ProjectionHead(sum(feature_map.shape[1] for feature_map in maps), 7, 5)
    features = torch.cat([features_at_points(feature_map, points) for feature_map in maps], dim=2)
    weights = [*maps, *head.parameters()]
    direction = torch.randn(120, 5)
    expected = head(features.flatten(0, 1))
    embeddings = head.at_points(maps, points)
    torch.testing.assert_close(embeddings, expected)
    for gradient, expected_gradient in zip(
        torch.autograd.grad(embeddings, weights, direction),
        torch.autograd.grad(expected, weights, direction),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-4)


def test_under_autocast_a_large_coarse_map_is_sampled_at_the_very_points():
    """Coordinates rounded to bfloat16 would be off by whole voxels here."""
    torch.manual_seed(0)
    head = ProjectionHead(3000, 7, 5)
    feature_map = torch.randn(1, 3000, 1, 512)
    points = torch.rand(1, 2000, 2) * 2 - 1
    expected = head.at_points([feature_map], points)
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = head.at_points([feature_map], points)
    assert embeddings.dtype == torch.bfloat16
    assert torch.corrcoef(torch.stack([embeddings.float().flatten(), expected.flatten()]))[0, 1] > 0.999


def test_the_first_layer_of_a_coarse_map_costs_what_its_voxels_cost():
    """Not what the points cost, which are 250 times as many here."""
    head = ProjectionHead(512, 64, 8)
    feature_map = torch.randn(1, 512, 2, 2)

    def products(num_points):
        with FlopCounterMode(display=False) as counter:
            head.at_points([feature_map], torch.rand(1, num_points, 2) * 2 - 1)
        return counter.get_total_flops()

    by_points = 2 * 1000 * 512 * 64
    assert products(1000) < by_points / 10


def learning_rates(warmup_fraction, num_epochs=10, initial_lr=0.4):
    optimizer = torch.optim.SGD(
        [{"params": [nn.Parameter(torch.zeros(1))]}, {"params": [nn.Parameter(torch.zeros(1))]}]
    )
    schedule = WarmupCosineSchedule(optimizer, initial_lr, num_epochs, warmup_fraction)
    rates = []
    for step in range(num_epochs * 10 + 1):
        schedule.step(step / 10)
        assert optimizer.param_groups[0]["lr"] == optimizer.param_groups[1]["lr"]
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero():
    rates = learning_rates(warmup_fraction=0.2)
    assert rates[0] == 0
    assert rates[10] == pytest.approx(0.2)  # half-way up
    assert rates[20] == max(rates) == pytest.approx(0.4)
    assert rates[60] == pytest.approx(0.2)  # half-way down the cosine
    assert rates[-1] == pytest.approx(0)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[20:]))


def test_without_warm_up_the_learning_rate_starts_at_its_peak():
    assert learning_rates(warmup_fraction=0.0)[0] == pytest.approx(0.4)
