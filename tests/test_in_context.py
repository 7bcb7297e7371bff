import importlib.util

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from nnunet_pix2rep import in_context
from nnunet_pix2rep.geometry.grids import SpatialTransform, TransformRanges, draw_transform
from nnunet_pix2rep.geometry.warp import warp
from nnunet_pix2rep.in_context import (
    build_search,
    choose_support,
    class_weights,
    cosine_similarity_to,
    equivariance_error,
    propagation_order,
    vote,
)

NUM_CLASSES = 3


@pytest.fixture(scope="module")
def pixels():
    """Support rows, their classes and queries: three overlapping clouds."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(NUM_CLASSES, 6, generator=generator)
    labels = torch.randint(NUM_CLASSES, (200,), generator=generator)
    support = centres[labels] + 0.8 * torch.randn(200, 6, generator=generator)
    queries = centres.repeat(20, 1) + 0.8 * torch.randn(60, 6, generator=generator)
    return support, labels, queries


def shares(pixels, k, temperature=float("inf"), search="torch", weights=None):
    support, labels, queries = pixels
    similarities, indices = build_search(support, k, search)(queries)
    return vote(similarities, labels[indices], NUM_CLASSES, temperature, weights)


@pytest.mark.parametrize("k", [1, 5, 30])
def test_equal_votes_are_those_of_scikit_learn(pixels, k):
    support, labels, queries = pixels
    oracle = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(support.numpy(), labels.numpy())
    np.testing.assert_allclose(shares(pixels, k).numpy(), oracle.predict_proba(queries.numpy()), atol=1e-6)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_weighted_votes_are_those_of_scikit_learn(pixels, temperature):
    support, labels, queries = pixels
    oracle = KNeighborsClassifier(
        15, metric="cosine", algorithm="brute", weights=lambda distances: np.exp((1 - distances) / temperature)
    ).fit(support.numpy(), labels.numpy())
    expected = oracle.predict_proba(queries.numpy())
    np.testing.assert_allclose(shares(pixels, 15, temperature).numpy(), expected, atol=1e-4)


def test_the_search_in_chunks_finds_the_same(pixels, monkeypatch):
    support, _, queries = pixels
    whole = build_search(support, 7, "torch")(queries)
    monkeypatch.setattr(in_context, "SIMILARITIES_AT_ONCE", 3 * len(support))
    in_chunks = build_search(support, 7, "torch")(queries)
    torch.testing.assert_close(in_chunks[0], whole[0])
    assert torch.equal(in_chunks[1], whole[1])


@pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss is not installed")
def test_faiss_finds_the_same(pixels):
    support, _, queries = pixels
    ours, theirs = (build_search(support, 7, search)(queries) for search in ("torch", "faiss"))
    torch.testing.assert_close(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])


def test_fewer_support_rows_than_neighbours_all_vote(pixels):
    support, labels, queries = pixels
    similarities, indices = build_search(support[:4], 100, "torch")(queries)
    assert indices.shape == (60, 4)
    assert torch.allclose(vote(similarities, labels[indices], NUM_CLASSES, 0.1).sum(dim=1), torch.ones(60))


@pytest.mark.parametrize(("rows", "k", "search"), [(0, 1, "torch"), (3, 0, "torch"), (3, 1, "annoy")])
def test_an_impossible_search_is_refused(rows, k, search):
    with pytest.raises(ValueError, match=r"k=|search"):
        build_search(torch.ones(rows, 2), k, search)


def test_balanced_classes_weigh_the_same_in_sum():
    labels = torch.tensor([0] * 6 + [1] * 2)
    weights = class_weights(labels, NUM_CLASSES)
    assert weights[2] == 0
    assert weights[0] * 6 == pytest.approx(float(weights[1] * 2))
    # all rows are neighbours, all equally similar: frequent classes would win without the weights
    balanced = vote(torch.ones(1, 8), labels[None], NUM_CLASSES, 0.1, weights)
    torch.testing.assert_close(balanced, torch.tensor([[0.5, 0.5, 0.0]]))


def test_all_foreground_and_a_part_of_the_background_are_support():
    labels = np.zeros((20, 20), dtype=int)
    labels[:2, :5], labels[5, 5], labels[19] = 1, 2, -1
    chosen = choose_support(labels, 100, np.random.default_rng(0))
    taken = labels.ravel()[chosen]
    assert len(chosen) == len(set(chosen.tolist())) == 100
    assert [(taken == label).sum() for label in (-1, 1, 2)] == [0, 10, 1]
    assert np.array_equal(chosen, choose_support(labels, 100, np.random.default_rng(0)))
    assert not np.array_equal(chosen, choose_support(labels, 100, np.random.default_rng(1)))


def test_a_small_class_is_kept_where_the_foreground_is_too_large():
    labels = np.repeat([0, 1, 2], (1000, 1000, 3))
    taken = labels[choose_support(labels, 100, np.random.default_rng(0))]
    assert [(taken == label).sum() for label in (0, 1, 2)] == [50, 47, 3]


def test_everything_is_taken_where_it_fits():
    labels = np.repeat([0, 1, -1], (10, 5, 3))
    assert choose_support(labels, 1000, np.random.default_rng(0)).tolist() == list(range(15))


def test_a_pixel_is_most_similar_to_itself(pixels):
    support, _, _ = pixels
    similarity = cosine_similarity_to(support, support[17] * 3)
    assert similarity.argmax() == 17
    assert similarity[17] == pytest.approx(1)


def test_the_equivariance_error_is_zero_for_the_identity():
    features = torch.randn(4, 9, 12, generator=torch.Generator().manual_seed(0))
    identity = SpatialTransform(torch.eye(2), torch.zeros(2))
    error = equivariance_error(features, features, identity)
    torch.testing.assert_close(error, torch.zeros(9, 12), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(24, 20), (10, 12, 14)])
def test_features_that_follow_the_image_have_no_equivariance_error_and_others_have(size):
    """The features here are the image itself, so warping commutes with taking them."""
    image = torch.randn(3, *size, generator=torch.Generator().manual_seed(0))
    ranges = TransformRanges(rotation=(0.3, 0.5), zoom=(0.8, 1.2), translation=0.1)
    transform = draw_transform(ranges, size, np.random.default_rng(0))
    warped = warp(image, transform.grid(size))
    error = equivariance_error(image, warped, transform)
    assert error.isnan().any()
    assert float(error.nan_to_num().abs().max()) < 1e-5
    assert float(equivariance_error(image, image, transform).nanmean()) > 1


def test_frames_are_segmented_outwards_from_the_anchor():
    assert list(propagation_order(5, 2)) == [(3, 2), (4, 3), (1, 2), (0, 1)]
    assert list(propagation_order(1, 0)) == []
    for anchor in range(6):
        known = {anchor}
        for frame, previous in propagation_order(6, anchor):
            assert previous in known
            assert frame not in known
            known.add(frame)
        assert known == set(range(6))
    with pytest.raises(ValueError, match="no frame 5"):
        list(propagation_order(5, 5))
