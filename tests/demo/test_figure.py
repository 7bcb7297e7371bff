import numpy as np

from nnunet_pix2rep.demo.figure import METHODS, AnnotatedSlice, Row, choose_cases, overlay, plot_figure

SUGGESTED = dict(zip("abcdefg", (0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4), strict=True))
RESULTS = {
    "methods": {
        "scratch": {"mean_dice": 0.5, "cases": dict.fromkeys("abcdefg", 0.5), "patients": ["one"]},
        "pix2rep": {"mean_dice": 0.6, "cases": dict.fromkeys("abcdefg", 0.6), "patients": ["one"]},
        "suggested": {"mean_dice": 0.7, "cases": SUGGESTED, "patients": ["one", "two"]},
    },
    "num_slices": 5,
    "labels": {"RV": 1, "MLV": 2, "LVC": 3},
    "test_patients": ["three", "four"],
}


def test_the_rows_span_the_gains_from_best_to_worst():
    assert choose_cases(RESULTS, 3) == ["b", "g", "a"]
    assert choose_cases(RESULTS, 20) == ["b", "d", "f", "g", "e", "c", "a"]


def test_the_overlay_colors_labeled_pixels_only():
    image = np.random.default_rng(0).normal(size=(8, 8))
    segmentation = np.zeros((8, 8), dtype=np.uint8)
    segmentation[2:4] = 3
    plain, colored = overlay(image), overlay(image, segmentation)
    assert np.array_equal((plain != colored).any(axis=-1), segmentation > 0)
    assert 0 <= colored.min() <= colored.max() <= 1


def test_the_figure_shows_both_sets_of_slices_and_a_row_per_image(tmp_path):
    image = np.arange(600.0).reshape(20, 30)
    segmentations = {name: np.zeros((20, 30)) for name in ("truth", *METHODS)}
    row = Row("b", segmentations, image, (1.5, 1.5), np.zeros((8, 8, 3)), (0, 20, 0, 30))
    slices = [AnnotatedSlice(image, np.zeros((20, 30)))] * 5
    figure = plot_figure([slices, slices], [row, row], [np.zeros((8, 8, 3))] * 2, RESULTS)
    assert len(figure.axes) == 2 * 5 + 2 * 6
    figure.savefig(tmp_path / "figure.png")
