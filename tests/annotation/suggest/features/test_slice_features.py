"""Which pixels are sampled, and that an interrupted run goes on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sparse_dataset import UNLABELED
from tiny_training import CASES, DATASET, PLANS

from nnunet_pix2rep.annotation.suggest.features.checkpoint import load_pretraining
from nnunet_pix2rep.annotation.suggest.features.pool_features import build_pool, weigh
from nnunet_pix2rep.annotation.suggest.features.slice_features import (
    FeatureCache,
    SamplingSettings,
    body_mask,
    chosen_slices,
    draw_pixels,
)
from nnunet_pix2rep.annotation.suggest.planned_dataset import open_dataset
from nnunet_pix2rep.annotation.suggest.scans import find_scans

SMALL = SamplingSettings(pixels_per_slice=8)


@pytest.fixture
def dataset(sparse):
    return open_dataset(DATASET, "2d", PLANS)


@pytest.fixture
def scans(dataset):
    return {scan.case: scan for scan in find_scans(dataset).scans}


@pytest.fixture
def make_cache(dataset, tmp_path):
    def make(settings=SMALL):
        model = load_pretraining(dataset, None, None, "all", torch.device("cpu"))
        return FeatureCache(tmp_path, model, dataset.label_files(), settings)

    return make


def test_the_scans_are_known_with_their_annotated_slices(scans):
    assert set(scans) == {*CASES, *UNLABELED}
    assert scans[CASES[0]].free_slices == [0, 3, 6, 9]
    assert scans[UNLABELED[0]].free_slices == list(range(2, 12))
    assert scans[UNLABELED[0]].annotated == ()


def test_an_interrupted_run_goes_on_with_the_same_result(make_cache, scans, tmp_path):
    some = [scans[UNLABELED[0]], scans[CASES[0]]]
    cache = make_cache()
    cache.compute(some[:1])
    written = tmp_path / "features" / f"{UNLABELED[0]}.npz"
    modified = written.stat().st_mtime_ns
    again = make_cache()
    again.compute(some)
    assert written.stat().st_mtime_ns == modified
    file = Path(written)
    before = {name: value.copy() for name, value in vars(again.read(some[0])).items()}
    file.unlink()
    make_cache().compute(some)
    for name, value in vars(make_cache().read(some[0])).items():
        assert np.array_equal(before[name], value), name


def test_other_settings_and_new_annotations_are_computed_again(make_cache, scans, tmp_path):
    scan = scans[UNLABELED[0]]
    make_cache().compute([scan])
    assert make_cache()._read(scan) is not None
    annotated = scan.__class__(**{**vars(scan), "annotated": (4,)})
    assert make_cache()._read(annotated) is None
    assert make_cache(SamplingSettings(pixels_per_slice=9))._read(scan) is None
    assert not list((tmp_path / "features").glob("*.npz"))


def test_features_are_of_the_slices_and_examples_of_the_foreground(make_cache, scans):
    cache = make_cache()
    some = [scans[UNLABELED[0]], scans[CASES[0]]]
    cache.compute(some)
    content = cache.read(some[0])
    assert content.slices.tolist() == list(range(2, 12))
    assert content.features.shape[:2] == (10, 8)
    assert len(content.examples) == 0
    np.testing.assert_allclose(np.linalg.norm(content.features.astype(float), axis=-1), 1, atol=2e-3)
    assert len(cache.read(some[1]).examples) > 0
    found = build_pool(some, cache, 0)
    assert len(found.pool) == len(found.slices) == 22
    assert found.pool.annotated.sum() == 8
    pool = weigh(found, "structure", found.examples, 0)
    case = [n for n, item in enumerate(found.slices) if item.case == CASES[0]]
    distance = (found.places[case] - 0.5).norm(dim=-1)  # the structure is a ball in the middle
    assert pool.weights[case][distance < 0.2].mean() > pool.weights[case][distance > 0.45].mean()


def test_pixels_are_of_the_body_and_of_the_slice(scans):
    scan = scans[UNLABELED[1]]
    data = np.zeros((1, *scan.grid.preprocessed_shape), dtype=np.float32)
    data[0, :, 10:20, 5:15] = 1
    body = body_mask(data)
    assert body.sum() == data.sum()
    voxels = draw_pixels(scan, 7, body, 50, np.random.default_rng(0))
    assert set(voxels[:, 0].tolist()) == {5}
    assert len({tuple(voxel) for voxel in voxels.tolist()}) == 50
    assert all(10 <= y < 20 and 5 <= x < 15 for _, y, x in voxels.tolist())
    few = draw_pixels(scan, 7, body, 250, np.random.default_rng(0))
    assert len({tuple(voxel) for voxel in few.tolist()}) == 100
    nothing = draw_pixels(scan, 7, np.zeros_like(body), 50, np.random.default_rng(0))
    assert nothing.shape == (50, 3)


def test_of_long_scans_evenly_spaced_slices_are_looked_at(scans):
    assert chosen_slices(scans[UNLABELED[0]], 5) == [3, 5, 7, 9, 11]
    assert chosen_slices(scans[CASES[0]], 2) == sorted([3, 9, *(i for i in range(12) if i % 3)])
