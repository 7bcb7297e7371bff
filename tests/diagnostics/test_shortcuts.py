import math

import numpy as np
import pytest
import torch

from nnunet_pix2rep.diagnostics.shortcuts import SHORTCUTS, ProbeRows, held_out_r2, probe_shortcuts

GROUPS = np.repeat(["a", "b", "c"], 100)


def make_batch(num_patches=4, per_patch=50, num_channels=1, seed=0):
    """Views 2 with noise in them, and points at voxel centers."""
    generator = torch.Generator().manual_seed(seed)
    views = torch.randn(num_patches, num_channels, 16, 16, generator=generator)
    index = torch.randint(0, 16, (num_patches, per_patch, 2), generator=generator)
    return views, (index * 2 + 1) / 16 - 1, index


def intensities_at(views, index):
    """What the views show at the points, (B * m, C)."""
    return torch.cat([view[:, at[:, 1], at[:, 0]].T for view, at in zip(views, index, strict=True)])


def rows_with(embeddings, views, points):
    cases = [f"case_{number}" for number in range(len(views))]
    return ProbeRows.of_batch(embeddings, views, points, cases)


def test_a_linear_function_is_predicted_and_noise_is_not():
    features = torch.randn(300, 5)
    targets = torch.stack([features @ torch.arange(5.0) + 3, torch.randn(300)], dim=1)
    linear, noise = held_out_r2(features, targets, GROUPS)
    assert linear > 0.99
    assert noise < 0.1


def test_what_holds_within_each_image_only_does_not_count():
    """The sign differs from image to image: a fit within images would find it."""
    features = torch.randn(300, 1)
    sign = torch.from_numpy(np.select([GROUPS == "a", GROUPS == "b"], [1.0, -1.0], 0.5))[:, None]
    assert held_out_r2(features, sign * features, GROUPS)[0] < 0.3


@pytest.mark.parametrize(
    ("features", "groups"), [(torch.ones(300, 2), np.repeat("a", 300)), (torch.full((300, 2), math.inf), GROUPS)]
)
def test_one_image_or_values_that_are_not_finite_give_nan(features, groups):
    assert math.isnan(held_out_r2(features, torch.randn(300, 1), groups)[0])


@pytest.mark.parametrize("num_channels", [1, 2])
def test_an_embedding_of_the_other_views_intensity_or_position_is_found(num_channels):
    views, points, index = make_batch(num_channels=num_channels)
    scores = probe_shortcuts(rows_with(intensities_at(views, index), views, points))
    assert scores["intensity_r2"] > 0.95
    assert scores["position_r2"] < 0.1
    scores = probe_shortcuts(rows_with(points.flatten(0, 1), views, points))
    assert scores["intensity_r2"] < 0.1
    assert scores["position_r2"] > 0.95
    assert set(scores) == set(SHORTCUTS)


def test_a_collapsed_embedding_tells_nothing():
    views, points, _ = make_batch()
    assert probe_shortcuts(rows_with(torch.ones(200, 8), views, points)) == pytest.approx(dict.fromkeys(SHORTCUTS, 0))


def test_rows_are_spread_over_the_batch_and_keep_their_case():
    views, points, index = make_batch()
    rows = ProbeRows.of_batch(torch.arange(200.0)[:, None], views, points, ["a", "b", "a", "b"], max_rows=8)
    kept = rows.embeddings[:, 0].long()
    assert kept.tolist() == [0, 28, 56, 85, 113, 142, 170, 199]
    assert rows.cases.tolist() == ["a", "a", "b", "b", "a", "a", "b", "b"]
    assert rows.patches.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert torch.equal(rows.positions, points.flatten(0, 1)[kept])
    assert torch.allclose(rows.intensities, intensities_at(views, index)[kept], atol=1e-5)


def test_joined_rows_keep_patches_apart_where_all_are_of_one_case():
    views, points, _ = make_batch(num_patches=2)
    part = ProbeRows.of_batch(torch.randn(100, 3), views, points, ["a", "a"], max_rows=4)
    joined = ProbeRows.joined([part, part])
    assert joined.patches.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert joined.groups is joined.patches
    other = ProbeRows.of_batch(torch.randn(100, 3), views, points, ["a", "b"], max_rows=4)
    assert ProbeRows.joined([part, other]).groups.tolist() == ["a"] * 6 + ["b"] * 2
    assert len(joined.embeddings) == len(joined.intensities) == len(joined.positions) == 8


def test_half_precision_and_three_dimensions():
    views = torch.randn(2, 1, 4, 8, 8)
    points = torch.rand(2, 30, 3) * 2 - 1
    rows = ProbeRows.of_batch(torch.randn(60, 4).bfloat16(), views, points, ["a", "b"])
    assert rows.embeddings.dtype == torch.float32
    assert rows.positions.shape == (60, 3)
    assert all(math.isfinite(value) for value in probe_shortcuts(rows).values())
