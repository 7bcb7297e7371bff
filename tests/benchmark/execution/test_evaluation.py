import numpy as np
import pytest
import SimpleITK
from tiny_training import PLANS

from nnunet_pix2rep.benchmark.execution import evaluation
from nnunet_pix2rep.benchmark.execution.evaluation import Evaluator, class_names, surface_metrics
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json

SPACING = (8.0, 1.0, 2.0)  # of the arrays' axes


def box(start, stop, shape=(6, 40, 40)):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*ends) for ends in zip(start, stop, strict=True))] = True
    return mask


def write(path, array):
    image = SimpleITK.GetImageFromArray(array.astype(np.uint8))
    image.SetSpacing(SPACING[::-1])
    path.parent.mkdir(exist_ok=True)
    SimpleITK.WriteImage(image, str(path))


@pytest.fixture
def evaluate(dataset, tmp_path):
    """Evaluates pairs of reference and prediction, each a case."""

    def run(pairs, dataset_json=None, tolerance=2.0):
        dataset_json = dataset_json or read_json(dataset / "dataset.json")
        for number, (reference, prediction) in enumerate(pairs):
            write(tmp_path / "labels" / f"case{number}.nii.gz", reference)
            write(tmp_path / "predictions" / f"case{number}.nii.gz", prediction)
        evaluator = Evaluator(dataset_json, read_json(dataset / f"{PLANS}.json"), tmp_path / "labels", tolerance)
        patients = {f"case{number}": f"patient{number}" for number in range(len(pairs))}
        return evaluator.evaluate(tmp_path / "predictions", patients, tmp_path / "summary.json")

    return run


def test_a_known_shift_gives_known_measures():
    reference, prediction = box((1, 10, 10), (5, 30, 30)), box((1, 10, 12), (5, 30, 32))
    measures = surface_metrics(reference, prediction, SPACING, tolerance=4.0)
    assert measures == {"surface_dice": pytest.approx(1.0), "hd95": pytest.approx(4.0)}
    assert surface_metrics(reference, prediction, SPACING, tolerance=3.9)["surface_dice"] < 0.99


def test_the_surface_dice_of_a_square_is_the_part_of_its_sides_that_stay():
    reference, prediction = (
        box((0, 100, 100), (1, 300, 300), (1, 400, 400)),
        box((0, 100, 110), (1, 300, 310), (1, 400, 400)),
    )
    measures = surface_metrics(reference, prediction, (1.0, 1.0, 1.0), tolerance=2.0)
    # two sides move by 10 pixels; of the other two 190 of 200 pixels, and 2 mm beyond, still lie on each other
    assert measures["surface_dice"] == pytest.approx((2 * 192) / 800, abs=0.01)


def test_what_is_undefined_stays_empty():
    empty, full = box((0, 0, 0), (0, 0, 0)), box((1, 10, 10), (5, 30, 30))
    assert surface_metrics(empty, empty, SPACING, 2.0) == {"surface_dice": None, "hd95": None}
    for pair in ((empty, full), (full, empty)):
        assert surface_metrics(*pair, SPACING, 2.0) == {"surface_dice": 0.0, "hd95": None}


def test_rows_and_summary_of_a_folder(evaluate, tmp_path):
    ring, core = box((1, 10, 10), (5, 30, 30)), box((2, 15, 15), (4, 20, 20))
    reference = ring + core.astype(int)
    rows = evaluate([(reference, reference), (ring, reference), (ring, ring)])
    assert [(row["case"], row["patient"], row["class"]) for row in rows] == [
        (f"case{number}", f"patient{number}", name) for number in range(3) for name in ("ring", "core")
    ]
    assert (rows[0]["dice"], rows[0]["surface_dice"], rows[0]["hd95"]) == (1, pytest.approx(1), 0)
    overlap = 2 * (ring.sum() - core.sum()) / (2 * ring.sum() - core.sum())
    assert rows[2]["dice"] == pytest.approx(overlap)
    assert (rows[3]["dice"], rows[3]["surface_dice"], rows[3]["hd95"]) == (0, 0, None)
    assert (rows[5]["dice"], rows[5]["surface_dice"], rows[5]["hd95"]) == (None, None, None)
    summary = read_json(tmp_path / "summary.json")
    assert summary["metric_per_case"][1]["metrics"]["1"]["Dice"] == pytest.approx(overlap)
    assert summary["mean"]["2"]["Dice"] == pytest.approx(0.5)


def test_regions_have_the_names_of_the_dataset(evaluate, dataset):
    dataset_json = read_json(dataset / "dataset.json") | {
        "labels": {"background": 0, "whole": [1, 2], "core": 2},
        "regions_class_order": [1, 2],
    }
    assert class_names(dataset_json, read_json(dataset / f"{PLANS}.json")) == {(1, 2): "whole", 2: "core"}
    core = box((2, 15, 15), (4, 20, 20))
    reference = box((1, 10, 10), (5, 30, 30)) + core.astype(int)
    rows = evaluate([(reference, reference - core)], dataset_json)
    assert [(row["class"], row["dice"]) for row in rows] == [("whole", 1), ("core", 0)]


def test_an_ignore_label_counts_in_nothing(evaluate, dataset):
    dataset_json = read_json(dataset / "dataset.json")
    dataset_json["labels"] = {"background": 0, "ring": 1, "core": 2, "ignore": 3}
    reference = box((1, 10, 10), (5, 30, 30)).astype(int)
    ignored = reference.copy()
    ignored[:, 20:] = 3
    rows = evaluate([(ignored, reference)], dataset_json)
    assert {row["class"] for row in rows} == {"ring", "core"}
    assert (rows[0]["dice"], rows[0]["surface_dice"], rows[0]["hd95"]) == (1, pytest.approx(1), 0)


def test_a_missing_prediction_is_named(dataset, tmp_path):
    evaluator = Evaluator(read_json(dataset / "dataset.json"), read_json(dataset / f"{PLANS}.json"), tmp_path, 2.0)
    with pytest.raises(UserError, match=r"no prediction of 1 test case\(s\), such as case0"):
        evaluator.evaluate(tmp_path, {"case0": "patient0"}, tmp_path / "summary.json")


def test_without_monai_the_dice_is_there_and_the_rest_empty(evaluate, monkeypatch):
    monkeypatch.setattr(evaluation, "has_surface_metrics", lambda: False)
    reference = box((1, 10, 10), (5, 30, 30))
    rows = evaluate([(reference, reference)])
    assert (rows[0]["dice"], rows[0]["surface_dice"], rows[0]["hd95"]) == (1, None, None)
