import math

import pytest
import torch

from nnunet_pix2rep.diagnostics.embeddings import (
    PAIR_DIAGNOSTICS,
    alignment,
    dead_dimensions,
    effective_rank,
    retrieval_accuracy,
    summarize,
    uniformity,
)


def test_alignment_is_the_squared_distance_of_normalized_pairs():
    z = torch.eye(4)
    assert alignment(z, 5 * z).item() == pytest.approx(0)
    assert alignment(z, z.roll(1, 0)).item() == pytest.approx(2)
    assert alignment(z, -z).item() == pytest.approx(4)


def test_uniformity_of_antipodal_and_of_collapsed_rows():
    assert uniformity(torch.tensor([[3.0, 0.0], [-2.0, 0.0]])).item() == pytest.approx(-8)
    assert uniformity(torch.ones(10, 3)).item() == pytest.approx(0)


def test_uniformity_falls_with_the_spread():
    z = torch.randn(200, 8)
    assert uniformity(z) < uniformity(z + 1) < uniformity(z + 5)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_counts_equal_directions(rank):
    z = torch.zeros(20, 8)
    z[:rank, :rank] = torch.eye(rank)
    assert effective_rank(z).item() == pytest.approx(rank, rel=1e-3)


def test_effective_rank_lies_between_1_and_the_number_of_channels():
    assert 1 < effective_rank(torch.randn(100, 16) * torch.logspace(0, -3, 16)) < 16
    assert effective_rank(torch.zeros(10, 4)).item() == pytest.approx(1, abs=1e-3)


def test_dead_dimensions_are_those_that_do_not_vary():
    z = torch.randn(500, 8)
    assert dead_dimensions(z) == 0
    z[:, :2] = 0
    assert dead_dimensions(z) == 0.25
    assert dead_dimensions(torch.ones(500, 8)) == 1


@pytest.mark.parametrize("num_channels", [4, 64])
def test_a_channel_is_dead_below_a_hundredth_of_the_usual_spread_whatever_the_width(num_channels):
    z = torch.randn(500, num_channels)
    z[:, 0] *= 0.03
    assert dead_dimensions(z) == 0
    z[:, 0] *= 0.1
    assert dead_dimensions(z) == 1 / num_channels


def test_retrieval_finds_pairs_that_are_nearest():
    z = torch.randn(50, 16)
    assert retrieval_accuracy(z, 2 * z) == 1
    assert retrieval_accuracy(z, z.roll(1, 0)) == 0


def test_the_summary_has_the_diagnostics_that_are_logged():
    summary = summarize(torch.randn(10, 4), torch.randn(10, 4))
    assert set(summary) == set(PAIR_DIAGNOSTICS)
    assert all(value.ndim == 0 and math.isfinite(value) for value in summary.values())


def test_the_summary_takes_rows_from_the_whole_batch():
    z_1, z_2 = torch.randn(2, 100, 8)
    z_2[:50] = z_1[:50]  # the first half agrees
    assert 0.4 < summarize(z_1, z_2, max_rows=20)["retrieval_accuracy"] <= 0.7


def test_the_summary_takes_half_precision_and_two_rows():
    summary = summarize(torch.randn(2, 4).bfloat16(), torch.randn(2, 4).bfloat16())
    assert all(value.dtype == torch.float32 and math.isfinite(value) for value in summary.values())
