import torch
from slice_pools import make_clustered_pool, seeded

from nnunet_pix2rep.annotation.selectors.weights import center_weights, distinctive_weights, similarity_weights


def test_rare_pixels_are_distinctive():
    pool, kinds = make_clustered_pool(pixels=8)
    weights = distinctive_weights(pool.features, seeded()).mean(dim=1)
    assert float(weights[kinds > 0].min()) > 2 * float(weights[kinds == 0].max())
    assert float(weights.min()) >= 0
    assert float(weights.max()) <= 1


def test_weights_depend_on_the_seed_alone():
    pool, _ = make_clustered_pool(common=400, pixels=8)
    assert torch.equal(distinctive_weights(pool.features, seeded(3)), distinctive_weights(pool.features, seeded(3)))


def test_the_middle_weighs_most():
    weights = center_weights(torch.tensor([[[0.5, 0.5], [0.5, 0.25], [0.25, 0.25], [0.0, 0.0]]]))[0]
    assert weights.tolist() == sorted(weights.tolist(), reverse=True)
    assert float(weights[0]) == 1


def test_pixels_like_an_example_weigh_most():
    pool, kinds = make_clustered_pool()
    weights = similarity_weights(pool.features, torch.eye(8)[[3, 4]]).mean(dim=1)
    alike = (kinds == 3) | (kinds == 4)
    assert float(weights[alike].min()) > 100 * float(weights[~alike].max())
