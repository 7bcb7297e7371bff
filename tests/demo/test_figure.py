import numpy as np
import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from nnunet_pix2rep.demo.features import colours_of_features, pixel_features
from nnunet_pix2rep.demo.figure import Row, choose_cases, draw_figure, overlay
from nnunet_pix2rep.nnunet.network import DecoderFeatures

SUMMARY = {
    "scratch": {"mean_dice": 0.5, "cases": dict.fromkeys("abcdefg", 0.5)},
    "pix2rep": {"mean_dice": 0.6, "cases": dict(zip("abcdefg", (0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4), strict=True))},
    "labels": {"RV": 1, "MLV": 2, "LVC": 3},
    "validation_patients": ["one", "two"],
}


@pytest.fixture(scope="module")
def network():
    planned = PlainConvUNet(1, 3, (4, 8, 8), torch.nn.Conv2d, 3, (1, 2, 2), 1, 3, 1, norm_op=torch.nn.InstanceNorm2d)
    return DecoderFeatures(planned, "hypercolumn").eval()


def test_the_rows_span_the_gains_from_best_to_worst():
    assert choose_cases(SUMMARY, 3) == ["b", "g", "a"]
    assert choose_cases(SUMMARY, 20) == ["b", "d", "f", "g", "e", "c", "a"]


@pytest.mark.parametrize("size", [(16, 16), (17, 30), (33, 19)])
def test_every_pixel_has_features_whatever_the_size(network, size):
    features = pixel_features(network, np.random.default_rng(0).normal(size=(1, *size)).astype(np.float32))
    assert features.shape == (*size, network.num_channels)
    assert np.isfinite(features).all()


def test_equal_features_have_equal_colours_in_all_images():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(8, 8, 5)), generator.normal(size=(6, 9, 5))
    second[2, 3] = first[1, 1]
    colours = colours_of_features([first, second])
    assert [picture.shape for picture in colours] == [(8, 8, 3), (6, 9, 3)]
    assert np.allclose(colours[1][2, 3], colours[0][1, 1])
    assert min(picture.min() for picture in colours) == 0
    assert max(picture.max() for picture in colours) == 1


def test_the_overlay_colours_labelled_pixels_only():
    image = np.random.default_rng(0).normal(size=(8, 8))
    segmentation = np.zeros((8, 8), dtype=np.uint8)
    segmentation[2:4] = 3
    plain, coloured = overlay(image), overlay(image, segmentation)
    assert np.array_equal((plain != coloured).any(axis=-1), segmentation > 0)
    assert 0 <= coloured.min() <= coloured.max() <= 1


def test_the_figure_has_a_row_per_image(tmp_path):
    segmentations = {name: np.zeros((20, 30)) for name in ("truth", "scratch", "pix2rep")}
    row = Row("b", segmentations, np.arange(600.0).reshape(20, 30), (1.5, 1.5), np.zeros((8, 8, 3)), (0, 20, 0, 30))
    figure = draw_figure([row, row], [np.zeros((8, 8, 3))] * 2, SUMMARY)
    assert len(figure.axes) == 2 * 5
    figure.savefig(tmp_path / "figure.png")
