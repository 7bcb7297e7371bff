"""Scans in ``imagesUn`` that nobody has preprocessed for the configuration: ``suggest`` cannot choose from them."""

import pytest
import SimpleITK
from sparse_dataset import UNLABELED, unlabeled_scan
from tiny_training import CASES, DATASET, PLANS

from nnunet_pix2rep.annotation.suggest.request import SuggestSettings
from nnunet_pix2rep.annotation.suggest.run import suggest
from nnunet_pix2rep.annotation.work_folder import OVERVIEW, read_suggestion
from nnunet_pix2rep.cli.main import main
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.unlabeled.preprocess import preprocess_unlabeled

COMMAND = f"run nnunet_pix2rep preprocess_unlabeled -d 901 -p {PLANS} -c 2d, then suggest again"


def add_scans(root, *cases):
    for number, case in enumerate(cases):
        file = root / "nnUNet_raw" / DATASET / "imagesUn" / f"{case}_0000.nii.gz"
        SimpleITK.WriteImage(unlabeled_scan(10 + number), str(file))


@pytest.fixture
def without_pretraining(own_sparse, tmp_path, monkeypatch):
    """Nothing is pretrained, so that no features are computed, which takes longest."""
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    return own_sparse


def test_they_are_warned_of_until_they_are_preprocessed(without_pretraining, tmp_path, capsys):
    add_scans(without_pretraining, "late_a", "late_b")
    options = ["-d", DATASET, "-c", "2d", "-p", PLANS, "--slices", "4", "-device", "cpu"]
    assert main(["suggest", *options, "-o", str(tmp_path / "first")]) == 0
    warning = f"2 scans in imagesUn are not preprocessed for 2d and were left out; {COMMAND}"
    assert f"WARNING: {warning}" in capsys.readouterr().out
    assert warning in (tmp_path / "first" / OVERVIEW).read_text(encoding="utf-8")
    assert read_suggestion(tmp_path / "first").pool["scans_not_preprocessed"] == 2
    preprocess_unlabeled(DATASET, "2d", PLANS, num_processes=1)
    assert main(["suggest", *options, "-o", str(tmp_path / "second")]) == 0
    assert "WARNING" not in capsys.readouterr().out
    pool = read_suggestion(tmp_path / "second").pool
    assert pool.keys() == {"patients", "cases", "slices"}
    assert pool["cases"] == len(CASES) + len(UNLABELED) + 2


@pytest.mark.usefixtures("without_pictures")
def test_a_single_one_is_spoken_of_as_such(without_pretraining, tmp_path):
    add_scans(without_pretraining, "late")
    _, notes = suggest(DATASET, "2d", PLANS, tmp_path / "work", SuggestSettings(budget=1))
    assert notes[0].startswith("WARNING: 1 scan in imagesUn is not preprocessed for 2d and was left out;")


def test_a_budget_that_they_would_allow_names_the_command(without_pretraining, tmp_path):
    add_scans(without_pretraining, "late")
    with pytest.raises(UserError, match=f"1 scan in imagesUn .* {COMMAND}"):
        suggest(DATASET, "2d", PLANS, tmp_path / "work", SuggestSettings(budget=65))
