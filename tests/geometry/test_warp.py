import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample
from transform_families import CASES, FAMILIES, SIZES

from nnunet_pix2rep.geometry.grids import draw_transform, identity_grid
from nnunet_pix2rep.geometry.warp import Placement, valid_points, warp
from nnunet_pix2rep.sampling import draw_point_pairs, features_at_points

MARGINS = {2: (6, 9), 3: (4, 5, 7)}  # of the context around the view, before it; behind it there are three voxels more


def context_shape(dimension):
    return tuple(length + 2 * margin + 3 for length, margin in zip(SIZES[dimension], MARGINS[dimension], strict=True))


def view_placement(dimension):
    return Placement.of_crop(MARGINS[dimension], SIZES[dimension], context_shape(dimension))


def wave(voxels, shape):
    """A smooth function of voxel coordinates (array axis order), shape (..., D) to (...)."""
    phases = [(index + 1) * 0.4 + np.pi * voxels[..., index] / length for index, length in enumerate(shape)]
    return np.prod([np.sin(phase) for phase in phases], axis=0)


def to_voxels(points, size, start):
    """Points of a view as voxels of the context, in array axis order, worked out without the code under test."""
    points = points.double().numpy()[..., ::-1]
    return (points + 1) / 2 * np.array(size) - 0.5 + np.array(start)


@pytest.mark.parametrize(("family", "dimension"), CASES)
def test_an_identity_network_has_equal_features_at_paired_points(family, dimension):
    size, start, shape = SIZES[dimension], MARGINS[dimension], context_shape(dimension)
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    context = torch.from_numpy(wave(voxels, shape)).float()[None]
    box = torch.stack([-torch.ones(dimension), torch.ones(dimension)])
    num_compared = 0
    for seed in range(5):
        generator = np.random.default_rng(seed)
        grid = draw_transform(FAMILIES[family], size, generator).grid(size)
        pairs = draw_point_pairs(grid, box, 500, generator)
        if pairs is None:
            continue
        points_1, points_2 = pairs
        view_1 = context[(slice(None), *[slice(low, low + n) for low, n in zip(start, size, strict=True)])]
        view_2 = warp(context, view_placement(dimension).to_context(grid))
        features_1 = features_at_points(view_1[None], points_1[None])[0, :, 0]
        features_2 = features_at_points(view_2[None], points_2[None])[0, :, 0]
        truth = torch.from_numpy(wave(to_voxels(points_1, size, start), shape)).float()
        torch.testing.assert_close(features_2, truth, rtol=0, atol=0.02)
        # nearer to the edge than half a voxel, features are constant
        inside = (points_1.abs() <= 1 - 1 / torch.tensor(size[::-1])).all(dim=1)
        torch.testing.assert_close(features_1[inside], features_2[inside], rtol=0, atol=1e-4)
        torch.testing.assert_close(features_1, features_2, rtol=0, atol=0.2)
        num_compared += int(inside.sum())
    assert num_compared > 500


@pytest.mark.parametrize(("family", "dimension"), CASES)
def test_invalid_points_are_those_that_a_warped_mask_shows_outside_the_view_or_in_padding(family, dimension):
    size, start, shape = SIZES[dimension], MARGINS[dimension], context_shape(dimension)
    image_start = [margin + 3 for margin in start]  # padding before the image reaches into the view
    image_stop = [low + length - 2 for low, length in zip(start, size, strict=True)]
    image_stop[-1] = shape[-1]  # none behind the image along the last axis
    mask = torch.zeros(1, 1, *shape)
    inner = [
        slice(max(low, first), min(low + n, stop))
        for low, n, first, stop in zip(start, size, image_start, image_stop, strict=True)
    ]
    mask[(0, 0, *inner)] = 1

    placement = view_placement(dimension)
    corners = torch.stack([-torch.ones(dimension), torch.ones(dimension)])
    image = Placement.of_crop(image_start, np.subtract(image_stop, image_start), shape)
    image_box = placement.from_context(image.to_context(corners))
    for seed in range(5):
        grid = draw_transform(FAMILIES[family], size, np.random.default_rng(seed)).grid(size)
        seen = grid_sample(mask, placement.to_context(grid)[None], mode="nearest", align_corners=False)[0, 0] == 1
        valid = valid_points(grid.flatten(0, -2), image_box).reshape(size)
        on_an_edge = torch.zeros_like(valid)  # where rounding decides
        for edges in (*image_box, *corners):
            on_an_edge |= ((grid - edges).abs() < 1e-4).any(dim=-1)
        assert torch.equal(valid | on_an_edge, seen | on_an_edge)
        assert on_an_edge.float().mean() < 0.05


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_identity_grid_returns_the_image(dimension):
    image = torch.randn(3, *SIZES[dimension])
    torch.testing.assert_close(warp(image, identity_grid(SIZES[dimension])), image, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dimension", [2, 3])
def test_warping_by_a_placement_cuts_out_the_box(dimension):
    image, start, size = torch.randn(2, *context_shape(dimension)), MARGINS[dimension], SIZES[dimension]
    cut = image[(slice(None), *[slice(low, low + n) for low, n in zip(start, size, strict=True)])]
    grid = view_placement(dimension).to_context(identity_grid(size))
    torch.testing.assert_close(warp(image, grid), cut, rtol=0, atol=1e-4)


def test_outside_of_the_image_there_is_zero():
    grid = identity_grid((4, 4)) + 5
    assert torch.equal(warp(torch.ones(1, 4, 4), grid), torch.zeros(1, 4, 4))


def test_a_placement_undoes_itself():
    placement = view_placement(3)
    points = torch.rand(20, 3) * 2 - 1
    torch.testing.assert_close(placement.from_context(placement.to_context(points)), points, rtol=0, atol=1e-6)
