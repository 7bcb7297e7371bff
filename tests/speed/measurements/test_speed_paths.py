"""The dense reference and the sampled path are the same loss where interpolating and projecting may change places."""

import pytest
import torch

from nnunet_pix2rep.geometry.grids import identity_grid
from nnunet_pix2rep.losses.info_nce import InfoNCELoss
from nnunet_pix2rep.projection_head import ProjectionHead
from nnunet_pix2rep.speed.measurements.paths import Pairs, dense_path, draw_pairs, project_all, sampled_path

SIZES = pytest.mark.parametrize("size", [(8, 12), (4, 6, 8)])


def feature_maps(size, batch_size=2):
    """A coarse map of half the size and a fine one, of both views."""
    torch.manual_seed(0)
    coarse = torch.randn(2 * batch_size, 5, *[length // 2 for length in size])
    return [coarse.requires_grad_(), torch.randn(2 * batch_size, 3, *size).requires_grad_()]


def head_in_evaluation():
    """With fixed statistics: those of a batch of all pixels and of the sampled ones differ."""
    torch.manual_seed(1)
    head = ProjectionHead(8, 7, 6).eval()
    head[1].running_mean.normal_()
    head[1].running_var.uniform_(0.5, 2)
    return head


def moved_by_whole_voxels(size, batch_size=2):
    """phi takes voxels to voxels: it mirrors the last axis, and so interpolates nothing."""
    grid = identity_grid(size).expand(batch_size, *size, len(size)) * torch.tensor([-1.0] + [1.0] * (len(size) - 1))
    return Pairs(grid, torch.stack([torch.randperm(grid[0, ..., 0].numel())[:20] for _ in range(batch_size)]))


@SIZES
def test_both_paths_give_the_same_loss_and_gradients(size):
    maps, head, loss, pairs = feature_maps(size), head_in_evaluation(), InfoNCELoss(), moved_by_whole_voxels(size)
    results = []
    for path, pixels in ((dense_path, pairs), (sampled_path, pairs.points())):
        value = path(maps, pixels, head, loss)
        results.append([value, *torch.autograd.grad(value, [*maps, *head.parameters()])])
    for dense, sampled in zip(*results, strict=True):
        torch.testing.assert_close(sampled, dense, rtol=1e-4, atol=1e-6)


@SIZES
def test_the_head_as_convolutions_is_the_head_of_every_pixel(size):
    head, features = head_in_evaluation(), torch.randn(2, 8, *size)
    expected = head(features.flatten(2).transpose(1, 2).flatten(0, 1))
    found = project_all(features, head).flatten(2).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(found, expected)


@SIZES
def test_points_of_view_2_are_the_voxels_and_those_of_view_1_where_the_grid_takes_them(size):
    pairs = draw_pairs(3, size, 9)
    points_1, points_2 = pairs.points().chunk(2)
    assert points_1.shape == (3, 9, len(size))
    for image in range(3):
        torch.testing.assert_close(points_1[image], pairs.grid[image].flatten(0, -2)[pairs.voxels[image]])
        torch.testing.assert_close(points_2[image], identity_grid(size).flatten(0, -2)[pairs.voxels[image]])


def test_voxels_repeat_only_where_there_are_too_few():
    assert len(draw_pairs(1, (4, 4), 16).voxels.unique()) == 16
    assert draw_pairs(1, (4, 4), 20).voxels.shape == (1, 20)
