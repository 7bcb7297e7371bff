import numpy as np
import pytest

from nnunet_pix2rep.benchmark.report.pages.panel_patients import Choice
from nnunet_pix2rep.benchmark.report.pages.panels import _slice, color_of, overlay, plot_panel
from nnunet_pix2rep.benchmark.report.reading.results import CellKey


def volumes(shape, labeled):
    truth = np.zeros(shape, dtype=np.uint8)
    truth[labeled] = 1
    return np.arange(truth.size, dtype=float).reshape(shape), truth


def test_the_slice_has_the_most_labeled_pixels_across_the_widest_spacing():
    image, truth = volumes((4, 20, 20), np.s_[1:3, 5:10, 5:10])
    truth[2, 5:12, 5:12] = 2
    row = _slice("best: a", image, truth, {"scratch": truth}, {"scratch": 1.0}, (8.0, 1.5, 1.0))
    assert (row.truth == 2).sum() == 49
    assert row.pixel_size == (1.5, 1.0)
    # the widest spacing along another axis
    moved = [np.moveaxis(volume, 0, 2) for volume in (image, truth)]
    across = _slice("best: a", moved[0], moved[1], {"scratch": moved[1]}, {"scratch": 1.0}, (1.5, 1.0, 8.0))
    assert np.array_equal(across.truth, row.truth)
    assert np.array_equal(across.image, row.image)


def test_the_window_holds_all_that_is_labeled_anywhere():
    image, truth = volumes((1, 100, 50), np.s_[:, 10:14, 10:14])
    _, far = volumes((1, 100, 50), np.s_[:, 60:64, 5:9])
    row = _slice("worst: a", image, truth, {"scratch": far}, {"scratch": 0.0}, (1.0, 1.0, 1.0))
    assert row.truth.sum() == row.predictions["scratch"].sum() == 16
    assert row.image.shape[0] < 100


def test_a_small_structure_is_not_blown_up_beyond_a_part_of_the_image():
    image, truth = volumes((1, 100, 60), np.s_[:, 0:2, 0:2])
    row = _slice("a", image, truth, {}, {}, (1.0, 1.0, 1.0))
    assert row.image.shape == (35, 21)
    assert row.truth.sum() == 4


@pytest.mark.parametrize("label", [0, 1])
def test_an_empty_truth_shows_what_was_predicted_or_the_whole_image(label):
    image, empty = volumes((3, 20, 20), np.s_[0:0])
    prediction = np.zeros_like(empty)
    prediction[2, 3:5, 3:5] = label
    row = _slice("a", image, empty, {"scratch": prediction}, {"scratch": 0.0}, (1.0, 1.0, 1.0))
    assert row.predictions["scratch"].sum() == 4 * label
    assert (row.image.shape == (20, 20)) == (label == 0)


def test_the_overlay_colors_labeled_pixels_only():
    image, segmentation = volumes((8, 8), np.s_[2:4])
    segmentation[5] = 30
    assert np.array_equal((overlay(image) != overlay(image, segmentation)).any(axis=-1), segmentation > 0)


def test_labels_have_different_colors():
    assert len({color_of(label) for label in range(1, 26)}) == 25


def test_the_panel_has_a_row_per_patient_and_a_column_per_method():
    image, truth = volumes((1, 30, 40), np.s_[:, 5:20, 5:20])
    predictions, dice = {"scratch": truth, "pix2rep": truth}, {"scratch": 0.5, "pix2rep": 0.25}
    rows = [_slice(f"{title}: a", image, truth, predictions, dice, (1.0, 1.0, 1.0)) for title in ("best", "worst")]
    figure = plot_panel(rows, Choice([CellKey("scratch", 1, 0), CellKey("pix2rep", 1, 0)], {}, {}, {}), {"1": "LV"})
    assert len(figure.axes) == 2 * 4
    assert [axis.get_title() for axis in figure.axes[:4]] == ["Image", "Truth", "scratch", "pix2rep"]
    assert [axis.texts[0].get_text() for axis in figure.axes[2:4]] == ["Dice 0.50", "Dice 0.25"]
