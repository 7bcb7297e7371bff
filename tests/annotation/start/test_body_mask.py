import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_pix2rep.annotation.start.body import body_mask

AIR, LUNG, TISSUE, PADDING, METAL = -1000, -850, 40, -3024, 30000


def thorax(shape=(8, 64, 64), seed=0):
    """A body with two lungs that are open at the first and the last slice, and where the body is."""
    _, y, x = np.indices(shape)
    body = ((y - 32) / 24) ** 2 + ((x - 32) / 28) ** 2 < 1
    lungs = (np.abs(y - 32) < 8) & (np.abs(np.abs(x - 32) - 12) < 6)
    image = np.where(lungs, LUNG, np.where(body, TISSUE, AIR)).astype(np.float32)
    return image + np.random.default_rng(seed).normal(0, 15, shape).astype(np.float32), body


def overlap(mask, truth):
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


def test_the_body_of_a_ct_includes_the_lungs():
    image, body = thorax()
    mask = body_mask(image[None], (5.0, 1.0, 1.0), [True])
    assert overlap(mask, body) > 0.99
    assert (image[mask] < -700).mean() > 0.05


def test_padding_around_the_field_of_view_and_metal_do_not_move_the_threshold():
    image, body = thorax()
    _, y, x = np.indices(image.shape)
    image[(y - 32) ** 2 + (x - 32) ** 2 > 31**2] = PADDING
    image[4, 30:33, 30:33] = METAL
    assert overlap(body_mask(image[None], (5.0, 1.0, 1.0), [True]), body) > 0.99


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_holes_are_filled_across_the_axis_of_the_largest_spacing(axis):
    image, body = thorax()
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 5.0
    mask = body_mask(np.moveaxis(image, 0, axis)[None], spacing, [True])
    assert overlap(np.moveaxis(mask, axis, 0), body) > 0.99


def test_a_structure_that_only_one_channel_shows_counts():
    first, second = np.zeros((2, 4, 32, 32), np.float32)
    first[:, 4:12, 4:12], second[:, 20:28, 20:28] = 100, 3
    mask = body_mask(np.stack([first, second]), (5.0, 1.0, 1.0), [False, False])
    assert np.array_equal(mask, (first > 0) | (second > 0))


@given(st.floats(-2000, 2000), st.sampled_from([(1, 6, 6), (3, 5, 4)]))
@settings(max_examples=30)
def test_of_a_constant_image_all_voxels_count_unless_they_are_zero(value, shape):
    mask = body_mask(np.full((1, *shape), value, np.float32), (1.0, 1.0, 1.0), [False])
    assert mask.shape == shape
    assert mask.all() if np.float32(value) != 0 else not mask.any()
