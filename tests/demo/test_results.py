import numpy as np
import pytest

from nnunet_pix2rep.demo.results import collect_results, format_table
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.patients.few_shot_folds import few_shot_splits
from nnunet_pix2rep.nnunet.patients.patients import Patient
from nnunet_pix2rep.nnunet.patients.split_files import write_splits

DICE = {"scratch": {"b": (0.2, 0.4), "c": (np.nan, 0.6)}, "pix2rep": {"b": (0.6, 0.8), "c": (np.nan, 0.5)}}


@pytest.fixture
def folders(tmp_path):
    """Validation summaries as nnU-Net writes them, of two cases and two classes."""
    preprocessed = tmp_path / "preprocessed"
    preprocessed.mkdir()
    write_json({"labels": {"background": 0, "RV": 1, "LV": 2}}, preprocessed / "dataset.json")
    patients = {name: Patient(name) for name in "abc"}
    write_splits(preprocessed, few_shot_splits(patients, [1], seeds=1, validation=2), patients, {})
    for name, cases in DICE.items():
        per_case = [
            {
                "metrics": {str(label): {"Dice": dice} for label, dice in enumerate(both, 1)},
                "reference_file": f"/some/where/{case}.nii.gz",
            }
            for case, both in cases.items()
        ]
        write_json({"metric_per_case": per_case}, tmp_path / name / "validation" / "summary.json")
    return {name: tmp_path / name for name in DICE}, preprocessed


def test_the_mean_is_over_classes_then_over_cases(folders):
    results = collect_results(*folders)
    assert results["scratch"]["cases"] == pytest.approx({"b": 0.3, "c": 0.6})
    assert results["scratch"]["mean_dice"] == pytest.approx(0.45)
    assert results["scratch"]["dice_per_class"] == pytest.approx({"RV": 0.2, "LV": 0.5})
    assert results["pix2rep"]["mean_dice"] == pytest.approx(0.6)
    assert results["labelled_patient"] not in results["validation_patients"]


def test_the_table_shows_means_and_differences(folders):
    lines = format_table(collect_results(*folders)).splitlines()
    assert lines[0].split() == ["Dice", "RV", "LV", "mean"]
    assert lines[2].split() == ["from", "scratch", "0.200", "0.500", "0.450"]
    assert lines[3].split() == ["Pix2Rep", "0.600", "0.650", "0.600"]
    assert lines[4].split() == ["difference", "+0.400", "+0.150", "+0.150"]
    assert "better in 1 of 2 images" in lines[-1]


def test_a_missing_summary_is_named(folders):
    results, preprocessed = folders
    (results["pix2rep"] / "validation" / "summary.json").unlink()
    with pytest.raises(UserError, match=r"pix2rep.*summary\.json"):
        collect_results(results, preprocessed)
