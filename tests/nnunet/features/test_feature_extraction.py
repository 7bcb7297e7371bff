from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunetv2.inference import predict_from_raw_data
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import nn

from nnunet_pix2rep.geometry.grids import identity_grid
from nnunet_pix2rep.nnunet.features import extraction
from nnunet_pix2rep.nnunet.features.extraction import FeatureExtractor, voxels_of

SHAPES = {"2d": (3, 30, 41), "3d": (11, 20, 15)}  # larger than the patch along some axes, smaller along others


class DenseFeatures(nn.Module):
    """The features of all pixels of a tile, as a network of nnU-Net gives its outputs."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        size = images.shape[2:]
        rows = self.network(images, identity_grid(size).flatten(0, -2))
        return rows.T.reshape(1, -1, *size)


@pytest.fixture(params=["2d", "3d"])
def model_and_image(request, load, pretraining, pretraining_3d):
    model = load(pretraining if request.param == "2d" else pretraining_3d, "hypercolumn")
    image = np.random.default_rng(0).normal(size=(1, *SHAPES[request.param])).astype(np.float32)
    return model, image


def all_features(extractor, image):
    return torch.cat([features for _, features in extractor.blocks(image)])


def nnunets_prediction(model, image, mirroring, num_channels):
    predictor = nnUNetPredictor(use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(
        DenseFeatures(model.network),
        model.plans_manager,
        model.configuration,
        None,
        model.dataset_json,
        "",
        model.mirror_axes,
    )
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=num_channels)
    return predictor.predict_sliding_window_return_logits(torch.from_numpy(image)).float()


def flat_weights(tile_size, dtype=torch.float16, **_):
    """Weights that half precision, in which nnU-Net sums, can hold; they differ from voxel to voxel."""
    return torch.linspace(1, 2, int(np.prod(tile_size))).reshape(tile_size).to(dtype)


@pytest.mark.parametrize("mirroring", [False, True])
def test_features_are_what_nnunets_own_predictor_would_give(model_and_image, mirroring, monkeypatch):
    model, image = model_and_image
    for module in (extraction, predict_from_raw_data):
        monkeypatch.setattr(module, "compute_gaussian", flat_weights)
    ours = all_features(FeatureExtractor(model, mirroring), image).T.reshape(-1, *image.shape[1:])
    torch.testing.assert_close(ours, nnunets_prediction(model, image, mirroring, len(ours)), atol=5e-3, rtol=0)
    assert ours.std() > 0.1


def test_tiles_are_weighted_as_nnunet_does(model_and_image):
    """At the corners of a tile the weights are too small for nnU-Net's half precision, so a few voxels may differ."""
    model, image = model_and_image
    ours = all_features(FeatureExtractor(model), image).T.reshape(-1, *image.shape[1:])
    difference = (ours - nnunets_prediction(model, image, False, len(ours))).abs()
    assert difference.flatten().quantile(0.95) < 5e-3


def test_some_voxels_have_the_features_that_they_have_among_all(model_and_image):
    model, image = model_and_image
    extractor = FeatureExtractor(model)
    whole = all_features(extractor, image).reshape(*image.shape[1:], -1)
    voxels = np.stack([np.random.default_rng(1).integers(0, size, 40) for size in image.shape[1:]], axis=1)
    torch.testing.assert_close(extractor.features_at(image, voxels), whole[tuple(voxels.T)])


def test_blocks_do_not_depend_on_their_size(model_and_image, monkeypatch):
    model, image = model_and_image
    extractor = FeatureExtractor(model)
    whole = all_features(extractor, image)
    monkeypatch.setattr(extraction, "BLOCK_BYTES", 1)
    blocks = list(extractor.blocks(image))
    assert [(block.start, block.stop) for block, _ in blocks] == [(z, z + 1) for z in range(image.shape[1])]
    torch.testing.assert_close(torch.cat([features for _, features in blocks]), whole)


def test_mirroring_uses_all_combinations_of_nnunets_axes(load, pretraining):
    model = load(pretraining)
    assert model.mirror_axes == (0, 1)
    assert FeatureExtractor(model, mirroring=True).flips == [(), (0,), (1,), (0, 1)]
    assert FeatureExtractor(model).flips == [()]


def test_voxels_are_listed_in_the_order_of_the_array():
    array = np.arange(4 * 3 * 5).reshape(4, 3, 5)
    assert np.array_equal(array[tuple(voxels_of(slice(1, 3), (3, 5)).T)], array[1:3].ravel())
