"""What the selectors on features are for: variety, and pixels that count."""

from dataclasses import replace

import pytest
import torch
from slice_pools import make_clustered_pool, make_pool, seeded
from torch.nn.functional import normalize

from nnunet_pix2rep.annotation.selectors import FEATURE_SELECTORS, SELECTORS
from nnunet_pix2rep.annotation.selectors import coverage as coverage_module
from nnunet_pix2rep.annotation.selectors.clusters import typicality
from nnunet_pix2rep.annotation.selectors.coverage import coverage_curve, draw_references, slice_similarity


def kinds_found(name, pool, kinds, seed, budget=5):
    return len(set(kinds[SELECTORS[name](pool, budget, seeded(seed))].tolist()))


@pytest.mark.parametrize("name", FEATURE_SELECTORS)
def test_rare_kinds_of_slices_are_found_where_chance_misses_them(name):
    by_chance, chosen = [], []
    for seed in range(4):
        pool, kinds = make_clustered_pool(seed=seed)
        by_chance.append(kinds_found("random", pool, kinds, seed))
        chosen.append(kinds_found(name, pool, kinds, seed))
    assert sum(chosen) >= sum(by_chance) + 4
    assert min(chosen) >= 3


def test_coverage_takes_every_kind_before_any_twice():
    pool, kinds = make_clustered_pool()
    assert kinds_found("coverage", pool, kinds, 0) == 5


def test_coverage_beats_chance_by_its_own_measure():
    pool = make_pool(patients=20, slices=4)
    references, weights = draw_references(pool, seeded())
    similarity = slice_similarity(pool, references)

    def value(name, seed):
        return coverage_curve(similarity, weights, pool.annotated, SELECTORS[name](pool, 8, seeded(seed)))[-1]

    assert value("coverage", 0) > max(value("random", seed) for seed in range(10))


def test_what_is_annotated_already_is_not_suggested_again():
    """Kinds 1 and 2 are annotated, so three slices suffice for all others."""
    pool, kinds = make_clustered_pool()
    done = torch.zeros(len(pool), dtype=torch.bool)
    done[[72, 74]] = True
    assert kinds[[72, 74]].tolist() == [1, 2]
    chosen = SELECTORS["coverage"](replace(pool, annotated=done), 3, seeded())
    assert set(kinds[chosen].tolist()) == {0, 3, 4}


def test_pixels_without_weight_do_not_matter():
    """Only the last pixel of each slice counts: the first ones of one slice are like those of no other."""
    pool, kinds = make_clustered_pool()
    features = pool.features.clone()
    features[5, :3] = torch.eye(8)[7]
    weights = torch.zeros(features.shape[:2])
    weights[:, 3] = 1
    assert 5 in SELECTORS["coverage"](replace(pool, features=features), 6, seeded())
    chosen = SELECTORS["coverage"](replace(pool, features=features, weights=weights), 5, seeded())
    assert 5 not in chosen
    assert set(kinds[chosen].tolist()) == {0, 1, 2, 3, 4}


def test_a_patient_with_many_scans_counts_as_much_as_one_with_a_single_scan():
    pool = make_pool(patients=3, slices=4)
    crowded = replace(pool, patients=("a",) * 8 + ("b",) * 4)
    totals = crowded.pixel_weights().sum(dim=1)
    assert float(totals[:8].sum()) == pytest.approx(float(totals[8:].sum()))


@pytest.mark.parametrize("name", FEATURE_SELECTORS)
def test_the_order_of_the_pool_does_not_decide(name):
    """Reversed, the same kinds are found; single slices may change with the start of k-means."""
    pool, kinds = make_clustered_pool()
    order = torch.arange(len(pool) - 1, -1, -1)
    names = tuple(reversed(pool.patients))
    turned = replace(pool, patients=names, cases=names, features=pool.features[order])
    assert kinds_found(name, turned, kinds[order], 0) >= 4


def test_few_reference_pixels_stand_for_many(monkeypatch):
    """References are drawn in proportion to the weights, without a pixel of none."""
    monkeypatch.setattr(coverage_module, "REFERENCE_PIXELS", 200)
    weights = torch.zeros(50, 10)
    weights[:, 0], weights[:, 1] = 1, 3
    pool = make_pool(patients=50, slices=1, pixels=10, weights=weights)
    references, counts = draw_references(pool, seeded())
    assert len(references) == 200
    assert float(counts.sum()) == pytest.approx(1)
    assert torch.bincount(references % 10, minlength=10).tolist() == [50, 150] + [0] * 8


def test_similarities_do_not_depend_on_the_chunks(monkeypatch):
    pool = make_pool()
    references = torch.arange(0, 200, 3)
    whole = slice_similarity(pool, references)
    monkeypatch.setattr(coverage_module, "SIMILARITIES_AT_ONCE", 700)
    assert torch.allclose(whole, slice_similarity(pool, references))
    pixels = pool.features.flatten(0, 1)
    expected = (pool.features[7] @ pixels[references].T).amax(dim=0).clamp(min=0)
    assert torch.allclose(whole[7], expected, atol=1e-6)


def test_gains_that_are_not_recomputed_change_nothing(monkeypatch):
    """The bounds of the lazy search against all gains at every step."""
    pool = make_pool(patients=30, slices=10, pixels=3)
    monkeypatch.setattr(coverage_module, "SLICES_AT_ONCE", 4)
    lazy = SELECTORS["coverage"](pool, 40, seeded())
    monkeypatch.setattr(coverage_module, "SLICES_AT_ONCE", 10**6)
    assert lazy == SELECTORS["coverage"](pool, 40, seeded())


def test_the_curve_never_falls_and_ends_at_all():
    pool = make_pool(annotated=(1, 2))
    references, weights = draw_references(pool, seeded())
    similarity = slice_similarity(pool, references)
    order = [index for index in range(len(pool)) if index not in (1, 2)]
    curve = coverage_curve(similarity, weights, pool.annotated, order)
    assert curve == sorted(curve)
    assert curve[0] > 0
    assert curve[-1] == pytest.approx(1, abs=1e-5)


def test_the_most_typical_member_is_in_the_crowd():
    crowd = normalize(torch.tensor([[1.0, 0.0], [1.0, 0.01], [1.0, -0.01], [0.0, 1.0]]), dim=1)
    assert int(typicality(crowd).argmax()) == 0
    assert int(typicality(crowd).argmin()) == 3
