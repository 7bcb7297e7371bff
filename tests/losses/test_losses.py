"""What holds for all losses."""

import itertools

import pytest
import torch
from embeddings import all_losses, random_pairs, value_and_gradients

from nnunet_pix2rep.losses.barlow_twins import BarlowTwinsLoss, barlow_twins, plain_barlow_twins
from nnunet_pix2rep.losses.info_nce import InfoNCELoss, info_nce, plain_info_nce

BY_NAME = all_losses() | {"plain_info_nce": plain_info_nce, "plain_barlow_twins": plain_barlow_twins}
LOSSES = pytest.mark.parametrize("loss", BY_NAME.values(), ids=BY_NAME.keys())


def test_there_are_the_losses_of_both_papers():
    assert {"info_nce", "barlow_twins"} <= set(BY_NAME)


@LOSSES
def test_the_gradient_is_that_of_the_value(loss):
    pairs = random_pairs(5, 3, torch.float64)
    assert torch.autograd.gradcheck(loss, pairs)


@LOSSES
def test_identical_views_lose_less_than_permuted_ones(loss):
    z, _ = random_pairs(50, 8)
    assert loss(z, z) < 0.9 * loss(z, z.flip(0))


@LOSSES
def test_the_views_may_be_swapped(loss):
    z_1, z_2 = random_pairs()
    torch.testing.assert_close(loss(z_1, z_2), loss(z_2, z_1))


@LOSSES
def test_the_order_of_the_pairs_does_not_matter(loss):
    z_1, z_2 = random_pairs()
    order = torch.randperm(len(z_1))
    torch.testing.assert_close(loss(z_1[order], z_2[order]), loss(z_1, z_2))


@LOSSES
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_input_is_computed_in_single_precision(loss, dtype):
    z_1, z_2 = random_pairs(dtype=dtype)
    value = loss(z_1, z_2)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(z_1.float(), z_2.float()))


@LOSSES
def test_autocast_does_not_reach_into_the_loss(loss):
    z_1, z_2 = random_pairs()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(z_1, z_2)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(z_1, z_2))


@LOSSES
def test_gradient_descent_on_free_embeddings_makes_the_loss_fall(loss):
    z_1, z_2 = random_pairs(64, 8)
    optimizer = torch.optim.Adam([z_1, z_2], lr=0.05)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        value = loss(z_1, z_2)
        value.backward()
        optimizer.step()
        values.append(value.detach())
    assert values[-1] < 0.95 * values[0]
    assert all(later < earlier for earlier, later in itertools.pairwise(values))


@LOSSES
@pytest.mark.parametrize(
    "shapes", [((4, 3), (5, 3)), ((4, 3), (4, 2)), ((4, 3, 2), (4, 3, 2)), ((4,), (4,)), ((1, 3), (1, 3))]
)
def test_other_shapes_are_refused(loss, shapes):
    with pytest.raises(ValueError, match=r"\(N, d\)"):
        loss(*(torch.zeros(shape) for shape in shapes))


@LOSSES
def test_dead_embeddings_give_finite_values_and_gradients(loss):
    for result in value_and_gradients(loss, torch.zeros(6, 4), torch.zeros(6, 4)):
        assert torch.isfinite(result).all()


def test_the_modules_pass_their_settings_on():
    pairs = random_pairs()
    assert torch.equal(InfoNCELoss(temperature=0.2, chunk_size=5, negatives=8)(*pairs), info_nce(*pairs, 0.2, 5, 8))
    assert torch.equal(BarlowTwinsLoss(redundancy_weight=0.1)(*pairs), barlow_twins(*pairs, 0.1))
