import importlib.util

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from nnunet_pix2rep import nearest_neighbors
from nnunet_pix2rep.nearest_neighbors import (
    build_search,
    choose_support,
    class_weights,
    cosine_similarity_to,
    vote,
)

NUM_CLASSES = 3


@pytest.fixture(scope="module")
def pixels():
    """Support rows, their classes and queries: three overlapping clouds."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(NUM_CLASSES, 6, generator=generator)
    labels = torch.randint(NUM_CLASSES, (200,), generator=generator)
    support = centers[labels] + 0.8 * torch.randn(200, 6, generator=generator)
    queries = centers.repeat(20, 1) + 0.8 * torch.randn(60, 6, generator=generator)
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
    monkeypatch.setattr(nearest_neighbors, "SIMILARITIES_AT_ONCE", 3 * len(support))
    in_chunks = build_search(support, 7, "torch")(queries)
    torch.testing.assert_close(in_chunks[0], whole[0])
    assert torch.equal(in_chunks[1], whole[1])


@pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss is not installed")
def test_faiss_finds_the_same(pixels):
    support, _, queries = pixels
    ours, theirs = (build_search(support, 7, search)(queries) for search in ("torch", "faiss"))
    torch.testing.assert_close(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])


def test_fewer_support_rows_than_neighbors_all_vote(pixels):
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
    # all rows are neighbors, all equally similar: frequent classes would win without the weights
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
