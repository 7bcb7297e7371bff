import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline
from transform_families import CASES, EVERYTHING, FAMILIES, MAX_AMPLITUDES, SIZES

from nnunet_pix2rep.geometry.grids import (
    SpatialTransform,
    TransformRanges,
    bspline_weights,
    draw_transform,
    identity_grid,
)
from nnunet_pix2rep.geometry.warp import warp

SEEDS = range(6)


def draw(ranges, size, seed):
    return draw_transform(ranges, size, np.random.default_rng(seed))


def random_points(num, dimension, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(num, dimension, dtype=torch.float64, generator=generator) * 2 - 1


def in_voxels(transform, size):
    """The matrix of a transform between voxel coordinates (x, y[, z])."""
    half_size = torch.tensor(size[::-1]) / 2
    return transform.matrix * half_size[:, None] / half_size[None, :]


@pytest.mark.parametrize(("family", "dimension"), CASES)
def test_the_grid_is_the_mapped_identity_grid(family, dimension):
    size = SIZES[dimension]
    transform = draw(FAMILIES[family], size, seed=1)
    mapped = transform.map_points(identity_grid(size).flatten(0, -2)).reshape(*size, dimension)
    torch.testing.assert_close(transform.grid(size), mapped, rtol=0, atol=2e-5)


def inverse(transform, points):
    """Points of view 1 to points of view 2, by fixed-point iteration.

    It contracts by the largest slope of the displacement, which stays below 0.8 even at the largest amplitudes that the
    configuration allows, so at most 100 steps reach float precision.
    """
    undisplaced = torch.linalg.solve(transform.matrix.to(points.dtype), (points - transform.shift.to(points.dtype)).T).T
    solution = undisplaced
    for _ in range(100 if transform.splines else 0):
        before, solution = solution, undisplaced - transform.displacement(solution)
        if (solution - before).abs().max() < 1e-8:
            break
    return solution


@pytest.mark.parametrize(("family", "dimension"), CASES)
def test_every_transform_that_the_configuration_allows_can_be_undone(family, dimension):
    points = random_points(500 if dimension == 2 else 20, dimension)
    for seed in SEEDS:
        transform = draw(FAMILIES[family], SIZES[dimension], seed)
        returned = inverse(transform, transform.map_points(points))
        torch.testing.assert_close(returned, points, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_strongest_random_deformations_do_not_fold_tissue(dimension):
    """The Jacobian determinant stays positive: no two points of view 2 show the same tissue."""
    ranges = TransformRanges(elastic_probability=1.0, elastic_amplitudes=MAX_AMPLITUDES)
    points, step = random_points(400 if dimension == 2 else 40, dimension), 1e-4
    steps = step * torch.eye(dimension, dtype=torch.float64)
    around = torch.cat([points + sign * each for each in steps for sign in (1, -1)])
    for seed in range(20 if dimension == 2 else 5):
        mapped = draw(ranges, SIZES[dimension], seed).map_points(around).reshape(dimension, 2, len(points), dimension)
        jacobian = (mapped[:, 0] - mapped[:, 1]).movedim(0, -1) / (2 * step)
        assert torch.linalg.det(jacobian).min() > 0


@pytest.mark.parametrize("size", [(30, 90), (90, 30), (10, 30, 50)])
def test_rotation_and_zoom_are_rigid_in_voxels_whatever_the_shape_of_the_view(size):
    for seed in SEEDS:
        for zoom in (1.0, 0.5):
            transform = draw(TransformRanges(rotation=(-math.pi, math.pi), zoom=(zoom, zoom)), size, seed)
            rotation = in_voxels(transform, size) / zoom
            torch.testing.assert_close(rotation @ rotation.T, torch.eye(len(size)), rtol=0, atol=1e-5)
            assert torch.linalg.det(rotation) == pytest.approx(1, abs=1e-5)


def test_rotations_reach_all_angles_of_the_range_and_no_others():
    ranges = TransformRanges(rotation=(0.2, 0.4))
    matrices = [in_voxels(draw(ranges, (30, 70), seed), (30, 70)) for seed in range(200)]
    angles = [math.atan2(matrix[1, 0], matrix[0, 0]) for matrix in matrices]
    assert 0.2 <= min(angles) < 0.21
    assert 0.39 < max(angles) <= 0.4


def test_a_rotation_of_90_degrees_is_that_of_torch():
    image = torch.randn(2, 12, 12)
    transform = draw(TransformRanges(rotation=(math.pi / 2, math.pi / 2)), (12, 12), seed=0)
    torch.testing.assert_close(warp(image, transform.grid((12, 12))), torch.rot90(image, 1, (1, 2)), rtol=0, atol=1e-4)


def test_rotations_of_90_degrees_about_each_axis_are_those_of_torch():
    image, size = torch.randn(2, 8, 8, 8), (8, 8, 8)
    transform = draw(TransformRanges(rotation=(math.pi / 2, math.pi / 2)), size, seed=0)
    expected = image
    for axes in ((-3, -2), (-3, -1), (-2, -1)):  # about x, y and z
        expected = torch.rot90(expected, 1, axes)
    torch.testing.assert_close(warp(image, transform.grid(size)), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("size", "axis"), [((12, 20), 0), ((12, 20), 1), *[((6, 8, 10), axis) for axis in range(3)]])
def test_a_mirrored_axis_is_flipped_in_half_of_the_draws(size, axis):
    image = torch.randn(2, *size)
    num_flipped = 0
    for seed in range(40):
        warped = warp(image, draw(TransformRanges(mirror_axes=(axis,)), size, seed).grid(size))
        is_flipped = torch.allclose(warped, image.flip(1 + axis), rtol=0, atol=1e-4)
        assert is_flipped or torch.allclose(warped, image, rtol=0, atol=1e-4)
        num_flipped += is_flipped
    assert 10 <= num_flipped <= 30


def test_mirroring_asked_for_an_axis_that_a_2d_patch_lacks_is_left_out():
    transform = draw(TransformRanges(mirror_axes=(2,)), (8, 8), seed=0)
    assert torch.equal(transform.matrix, torch.eye(2))


@pytest.mark.parametrize("size", [(20, 30), (10, 20, 30)])
def test_zoom_is_the_width_of_view_2_in_widths_of_view_1(size):
    transform = draw(TransformRanges(zoom=(0.5, 0.5)), size, seed=0)
    corners = torch.stack([-torch.ones(len(size)), torch.ones(len(size))])
    torch.testing.assert_close(transform.map_points(corners), corners / 2)


@pytest.mark.parametrize("dimension", [2, 3])
def test_translation_shifts_each_axis_by_up_to_that_many_widths(dimension):
    shifts = torch.stack([draw(TransformRanges(translation=0.25), SIZES[dimension], seed).shift for seed in range(200)])
    assert shifts.abs().max() <= 0.5
    assert (shifts.amax(dim=0) > 0.45).all()
    assert (shifts.amin(dim=0) < -0.45).all()


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_displacement_never_exceeds_the_amplitudes(dimension):
    ranges = TransformRanges(elastic_probability=1.0, elastic_amplitudes=(0.1, 0.05))
    points = random_points(50, dimension) * 1.5  # also beyond the view
    largest = max(draw(ranges, SIZES[dimension], seed).displacement(points).abs().max() for seed in SEEDS)
    assert 0.05 < largest <= 2 * (0.1 + 0.05)


@pytest.mark.parametrize("seed", SEEDS)
def test_in_plane_transforms_leave_the_first_axis_alone_but_for_mirroring(seed):
    size = SIZES[3]
    transform = draw(FAMILIES["in_plane_only"], size, seed)
    points = random_points(50, 3)
    mapped = transform.map_points(points)
    sign = torch.sign(mapped[0, 2] * points[0, 2])
    torch.testing.assert_close(mapped[:, 2], sign * points[:, 2], rtol=0, atol=1e-7)

    other_slice = points.clone()
    other_slice[:, 2] = -0.3
    torch.testing.assert_close(transform.map_points(other_slice)[:, :2], mapped[:, :2], rtol=0, atol=1e-7)
    rotation = in_voxels(transform, size)[:2, :2]
    gram = rotation @ rotation.T
    torch.testing.assert_close(gram, gram[0, 0] * torch.eye(2), rtol=0, atol=1e-5)


def test_in_plane_mirroring_reaches_the_first_axis_where_nnunet_allows_it():
    signs = {float(draw(FAMILIES["in_plane_only"], SIZES[3], seed).matrix[2, 2]) for seed in range(20)}
    assert signs == {1.0, -1.0}
    only_in_plane = replace(FAMILIES["in_plane_only"], mirror_axes=(1, 2))
    assert {float(draw(only_in_plane, SIZES[3], seed).matrix[2, 2]) for seed in range(20)} == {1.0}


@pytest.mark.parametrize("dimension", [2, 3])
def test_no_range_means_no_motion(dimension):
    transform = draw(TransformRanges(), SIZES[dimension], seed=0)
    assert torch.equal(transform.matrix, torch.eye(dimension))
    assert torch.equal(transform.shift, torch.zeros(dimension))
    assert transform.splines == ()


def test_the_same_generator_state_gives_the_same_transform_and_another_one_does_not():
    first, again, other = (draw(TransformRanges(**EVERYTHING), (20, 30), seed).grid((20, 30)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_a_spline_of_another_dimension_is_refused():
    transform = SpatialTransform(torch.eye(2), torch.zeros(2), (torch.zeros(2, 5, 5, 5),))
    with pytest.raises(ValueError):
        transform.grid((8, 8))


coordinates = st.lists(st.floats(-1, 1, allow_nan=False), min_size=1, max_size=20).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)


@settings(max_examples=50)
@given(coordinates, st.integers(4, 12))
def test_bspline_weights_sum_to_one_and_reproduce_linear_functions(points, num_coefficients):
    weights = bspline_weights(points, num_coefficients)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones_like(points))
    places = -1 + (torch.arange(num_coefficients, dtype=torch.float64) - 1) * 2 / (num_coefficients - 3)
    torch.testing.assert_close(weights @ places, points)


@pytest.mark.parametrize("num_coefficients", [4, 7, 11])
def test_bspline_weights_are_those_of_scipy(num_coefficients):
    spacing = 2 / (num_coefficients - 3)
    knots = -1 + spacing * np.arange(-3, num_coefficients + 1)
    points = np.linspace(-1, 1, 101)
    expected = BSpline.design_matrix(points[:-1], knots, 3).toarray()
    weights = bspline_weights(torch.from_numpy(points[:-1]), num_coefficients)
    np.testing.assert_allclose(weights.numpy(), expected, atol=1e-12)


def test_bspline_weights_beyond_the_border_are_those_at_the_border():
    points = torch.tensor([-3.0, -1.0, 1.0, 2.0])
    weights = bspline_weights(points, 6)
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[2], weights[3])
