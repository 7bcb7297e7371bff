import numpy as np

from nnunet_pix2rep.demo.figure import Row, choose_cases, overlay, plot_figure

SUMMARY = {
    "scratch": {"mean_dice": 0.5, "cases": dict.fromkeys("abcdefg", 0.5)},
    "pix2rep": {"mean_dice": 0.6, "cases": dict(zip("abcdefg", (0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4), strict=True))},
    "labels": {"RV": 1, "MLV": 2, "LVC": 3},
    "validation_patients": ["one", "two"],
}


def test_the_rows_span_the_gains_from_best_to_worst():
    assert choose_cases(SUMMARY, 3) == ["b", "g", "a"]
    assert choose_cases(SUMMARY, 20) == ["b", "d", "f", "g", "e", "c", "a"]


def test_the_overlay_colours_labeled_pixels_only():
    image = np.random.default_rng(0).normal(size=(8, 8))
    segmentation = np.zeros((8, 8), dtype=np.uint8)
    segmentation[2:4] = 3
    plain, coloured = overlay(image), overlay(image, segmentation)
    assert np.array_equal((plain != coloured).any(axis=-1), segmentation > 0)
    assert 0 <= coloured.min() <= coloured.max() <= 1


def test_the_figure_has_a_row_per_image(tmp_path):
    segmentations = {name: np.zeros((20, 30)) for name in ("truth", "scratch", "pix2rep")}
    row = Row("b", segmentations, np.arange(600.0).reshape(20, 30), (1.5, 1.5), np.zeros((8, 8, 3)), (0, 20, 0, 30))
    figure = plot_figure([row, row], [np.zeros((8, 8, 3))] * 2, SUMMARY)
    assert len(figure.axes) == 2 * 5
    figure.savefig(tmp_path / "figure.png")
