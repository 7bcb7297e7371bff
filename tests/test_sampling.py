import numpy as np
import pytest
import scipy.stats
import torch

from nnunet_pix2rep.geometry.grids import identity_grid
from nnunet_pix2rep.sampling import draw_point_pairs, features_at_points, interpolation_weights

SIZES = pytest.mark.parametrize("size", [(10, 14), (6, 8, 10)])


def whole_view(dimension):
    return torch.stack([-torch.ones(dimension), torch.ones(dimension)])


def generator(seed=0):
    return np.random.default_rng(seed)


@SIZES
def test_points_of_view_2_are_voxel_centers_and_those_of_view_1_where_the_grid_maps_them(size):
    grid = identity_grid(size) * 0.5
    points_1, points_2 = draw_point_pairs(grid, whole_view(len(size)), 20, generator())
    assert points_1.shape == points_2.shape == (20, len(size))
    torch.testing.assert_close(points_1, points_2 * 0.5)
    centers = {tuple(point.tolist()) for point in identity_grid(size).flatten(0, -2).round(decimals=5)}
    assert {tuple(point.tolist()) for point in points_2.round(decimals=5)} <= centers


@SIZES
def test_points_are_drawn_without_repetition_while_there_are_enough(size):
    """Also where hardly any voxel is valid, as in views with much padding."""
    box = whole_view(len(size)) * 0.35
    num_valid = int((identity_grid(size).abs() <= 0.35).all(dim=-1).sum())
    for seed in range(5):
        points_1, _ = draw_point_pairs(identity_grid(size), box, num_valid, generator(seed))
        assert len(points_1.unique(dim=0)) == num_valid


@SIZES
def test_too_few_valid_voxels_are_repeated_evenly(size):
    box = whole_view(len(size)) * 0.2
    points_1, points_2 = draw_point_pairs(identity_grid(size), box, 1001, generator())
    assert points_1.abs().max() <= 0.2
    torch.testing.assert_close(points_1, points_2)
    _, counts = points_1.unique(dim=0, return_counts=True)
    assert counts.max() - counts.min() <= 1


def test_a_single_valid_voxel_is_found():
    grid = identity_grid((64, 64))
    corner = grid[0, 0]
    points_1, _ = draw_point_pairs(grid, torch.stack([corner - 0.001, corner + 0.001]), 2, generator())
    torch.testing.assert_close(points_1, corner.expand(2, 2))


def test_every_voxel_may_be_drawn():
    drawn = torch.cat(
        [draw_point_pairs(identity_grid((5, 7)), whole_view(2), 5, generator(seed))[1] for seed in range(60)]
    )
    assert len(drawn.unique(dim=0)) == 35


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_every_valid_voxel_is_drawn_as_often_as_any_other(share):
    """Where few of the first candidates are valid, and where most are."""
    size, num_points, num_draws = (16, 16), 8, 1500
    box = whole_view(2) * share**0.5
    num_valid = int((identity_grid(size).abs() <= share**0.5).all(dim=-1).sum())
    random = generator()
    drawn = torch.cat([draw_point_pairs(identity_grid(size), box, num_points, random)[1] for _ in range(num_draws)])
    _, counts = drawn.unique(dim=0, return_counts=True)
    assert len(counts) == num_valid
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_no_valid_voxel_gives_none():
    assert draw_point_pairs(identity_grid((8, 8)) + 3, whole_view(2), 5, generator()) is None


@SIZES
def test_features_at_voxel_centers_are_those_of_the_voxels(size):
    feature_map = torch.randn(2, 3, *size)
    points = identity_grid(size).flatten(0, -2).expand(2, -1, -1)
    expected = feature_map.flatten(2).transpose(1, 2)
    torch.testing.assert_close(features_at_points(feature_map, points), expected, rtol=0, atol=1e-4)


def test_features_are_linear_between_voxel_centers_and_constant_beyond():
    feature_map = torch.tensor([0.0, 10.0, 20.0, 30.0]).expand(1, 1, 2, 4)
    points = torch.tensor([[[-0.5, 0.0], [0.0, 0.0], [-1.0, -1.0], [1.0, 0.3], [5.0, 0.0]]])
    expected = torch.tensor([[[5.0], [15.0], [0.0], [30.0], [30.0]]])
    torch.testing.assert_close(features_at_points(feature_map, points), expected)


def test_each_image_has_its_own_points():
    feature_map = torch.arange(2.0).reshape(2, 1, 1, 1) * 100 + torch.arange(4.0).expand(2, 1, 4, 4)
    points = torch.tensor([[[-0.75, 0.0]], [[0.75, 0.0]]])
    torch.testing.assert_close(features_at_points(feature_map, points).flatten(), torch.tensor([0.0, 103.0]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_sampled_at_the_very_points(dtype):
    """Coordinates rounded to half precision would be off by up to a voxel in a large view."""
    width = 1024
    feature_map = torch.arange(width).remainder(2).to(dtype).expand(1, 1, 2, width)
    points = torch.stack([torch.linspace(-0.999, 0.999, 777), torch.zeros(777)], dim=1)[None]
    features = features_at_points(feature_map, points)
    expected = features_at_points(feature_map.float(), points)
    assert features.dtype == dtype
    torch.testing.assert_close(features.float(), expected, rtol=0, atol=0.01)


def test_gradients_reach_the_neighbors_of_a_point_and_nothing_else():
    feature_map = torch.zeros(1, 1, 4, 4, requires_grad=True)
    features_at_points(feature_map, torch.tensor([[[0.0, -0.75]]])).sum().backward()
    expected = torch.zeros(4, 4)
    expected[0, 1:3] = 0.5
    torch.testing.assert_close(feature_map.grad[0, 0], expected)


@SIZES
def test_interpolation_weights_make_sampling_a_product_of_matrices(size):
    """Also beyond the outermost voxel centers, and along axes of a single voxel."""
    generator = torch.Generator().manual_seed(1)
    feature_map = torch.randn(2, 3, *size, generator=generator)
    points = torch.rand(2, 50, len(size), generator=generator) * 3 - 1.5
    for shape in (feature_map, feature_map[..., :1]):
        weights = interpolation_weights(points, shape.shape[2:])
        torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, 50))
        torch.testing.assert_close(weights @ shape.flatten(2).mT, features_at_points(shape, points))
