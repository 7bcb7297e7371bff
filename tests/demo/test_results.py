import numpy as np
import pytest
from demo_folders import SHAPE, finished_demo

from nnunet_pix2rep.demo.results import collect_results, dice, format_results
from nnunet_pix2rep.errors import UserError

NOTHING = np.zeros(SHAPE, dtype=np.uint8)


@pytest.fixture
def folders(tmp_path):
    """From scratch nothing is found; Pix2Rep finds one class in one of two images, with suggested slices all."""
    truth = finished_demo(tmp_path / "truth", {})[1]
    one_class = np.where(truth == 1, truth, 0)
    return finished_demo(
        tmp_path / "demo",
        {
            "scratch": {"a_ED": NOTHING, "b_ED": NOTHING},
            "pix2rep": {"a_ED": one_class, "b_ED": NOTHING},
            "suggested": {"a_ED": truth, "b_ED": truth},
        },
    )[0]


def test_dice_by_hand():
    truth, prediction = np.array([1, 1, 1, 0], dtype=bool), np.array([0, 1, 1, 1], dtype=bool)
    assert dice(truth, prediction) == pytest.approx(2 * 2 / 6)
    assert np.isnan(dice(truth & False, prediction & False))


def test_the_mean_is_over_classes_then_over_images(folders):
    results = collect_results(folders)
    found = results["methods"]
    assert found["pix2rep"]["cases"] == {"a_ED": 0.5, "b_ED": 0}
    assert found["pix2rep"]["dice_per_class"] == {"RV": 0.5, "LV": 0}
    assert [found[name]["mean_dice"] for name in ("scratch", "pix2rep", "suggested")] == [0, 0.25, 1]


def test_the_ignore_label_is_no_structure(folders):
    assert collect_results(folders)["labels"] == {"RV": 1, "LV": 2}


def test_all_methods_name_the_same_effort(folders):
    results = collect_results(folders)
    assert results["num_slices"] == 2
    assert [method["title"].split()[0] for method in results["methods"].values()] == ["2"] * 3
    assert results["methods"]["scratch"]["patients"] == results["methods"]["pix2rep"]["patients"] == ["p"]
    assert results["methods"]["suggested"]["patients"] == ["p", "q"]


def test_the_table_and_the_sentence_have_the_numbers(folders):
    lines = format_results(collect_results(folders)).splitlines()
    assert lines[0].split() == ["Dice", "RV", "LV", "mean"]
    rows = {" ".join(words[:-3]): words[-3:] for words in map(str.split, lines[2:5])}
    assert rows == {
        "2 slices of one patient, from scratch": ["0.000"] * 3,
        "2 slices of one patient, Pix2Rep": ["0.500", "0.000", "0.250"],
        "2 suggested slices (2 patients), Pix2Rep": ["1.000"] * 3,
    }
    assert "mean Dice of 1.00, one random patient 0.25 with Pix2Rep and 0.00 from scratch (2 images of 2" in lines[-1]


def test_a_missing_segmentation_is_named(folders):
    (folders.prediction("pix2rep") / "b_ED.nii.gz").unlink()
    with pytest.raises(UserError, match=r"pix2rep has no segmentation of b_ED"):
        collect_results(folders)
