from dataclasses import replace

import pytest
import torch
from slice_pools import make_clustered_pool, make_pool, seeded

from nnunet_pix2rep.annotation.selectors import SELECTORS
from nnunet_pix2rep.annotation.suggest.choose import pool_of_scans
from nnunet_pix2rep.annotation.suggest.representation import bend_of, represent


def test_the_bend_is_where_a_curve_levels_off():
    assert bend_of([0, 3, 6, 9, 9.1, 9.2, 9.3, 9.4]) == 3
    assert bend_of([0, 1, 2, 3]) == 0


def test_few_slices_of_every_kind_represent_all_scans_and_those_of_one_kind_do_not():
    pool, kinds = make_clustered_pool(rare=40, common=40)
    firsts = [int((kinds == kind).nonzero()[0]) for kind in range(int(kinds.max()) + 1)]
    everything, little = represent(pool, firsts, 0), represent(pool, firsts[:1], 0)
    assert everything.represented > 0.9
    assert 0.3 < little.represented < 0.7
    assert everything.curve[everything.chosen] > little.curve[little.chosen]


def test_what_is_annotated_counts_from_the_start():
    pool = make_pool(patients=6, slices=5)
    done = pool.annotated.clone()
    done[:10] = True
    found = represent(replace(pool, annotated=done), [12, 20], 0)
    assert found.curve[0] > 0
    assert found.chosen == 2
    assert list(found.curve) == sorted(found.curve)
    assert len(found.curve) == 1 + 20


def test_with_a_single_patient_nothing_can_be_said_of_others():
    assert represent(make_pool(patients=1), [2], 0).represented is None


def test_whole_scans_are_chosen_as_slices_are():
    """Scans of which nothing is annotated come first; annotated parts of others are covered already."""
    pool = make_pool(patients=5, slices=4, annotated=(0, 1, 5))
    scans = pool_of_scans(pool, 0)
    assert len(scans) == 7
    assert sorted(scans.cases[n] for n in scans.annotated.nonzero().flatten().tolist()) == sorted(
        {pool.cases[0], pool.cases[5]}
    )
    chosen = SELECTORS["coverage"](scans, 5, seeded())
    assert {scans.patients[n] for n in chosen[:3]} == {"patient_02", "patient_03", "patient_04"}
    plain = pool_of_scans(replace(pool, features=None), 0)
    assert plain.features is None
    assert plain.cases == scans.cases


def test_the_pixels_of_a_scan_are_those_of_its_slices():
    pool = make_pool(patients=2, slices=3, weights=torch.arange(30.0).reshape(6, 5))
    scans = pool_of_scans(pool, 0)
    own = pool.features[:3].flatten(0, 1)
    assert scans.features[0].unique(dim=0).tolist() == own.unique(dim=0).tolist()
    place = (own @ scans.features[0].T).argmax(dim=0)
    assert torch.equal(scans.weights[0], pool.weights[:3].flatten()[place])
    assert float(scans.features.norm(dim=-1).min()) == pytest.approx(1, abs=1e-5)
