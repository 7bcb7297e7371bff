"""The work folder that ``suggest`` writes."""

import csv
import shutil

import numpy as np
import pytest
import SimpleITK
from sparse_dataset import CONFIGURATIONS, IGNORED, UNLABELED, copy_dataset, validation_patients, without_labels
from tiny_training import CASES, DATASET, PLANS, prepare_for_training

from nnunet_pix2rep.annotation.selectors import SELECTORS
from nnunet_pix2rep.annotation.slices import slice_digests
from nnunet_pix2rep.annotation.suggest.request import Click, SuggestSettings
from nnunet_pix2rep.annotation.suggest.run import suggest
from nnunet_pix2rep.annotation.work_folder import read_suggestion
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import checksum, read_json, write_json

IGNORE = 3


def run(output, configuration="2d", **settings):
    return suggest(DATASET, configuration, PLANS, output, SuggestSettings(**{"budget": 6} | settings))[0]


def labels_of(folder, case):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "labels" / f"{case}.nii.gz")))


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_labels_are_ignored_but_in_the_chosen_slices(own_sparse, tmp_path, configuration):
    without_labels(own_sparse)
    suggestion = run(tmp_path / "work", configuration)
    assert read_suggestion(tmp_path / "work") == suggestion
    assert suggestion.labels == read_json(own_sparse / "nnUNet_raw" / DATASET / "dataset.json")["labels"]
    chosen = suggestion.chosen()
    assert sum(map(len, chosen.values())) == len(suggestion.slices) == 6
    assert set(chosen) == set(UNLABELED)  # a slice of each of the four patients before a second one
    for case, indices in chosen.items():
        labels = labels_of(tmp_path / "work", case)
        assert np.unique(labels[indices]).tolist() == [0]
        assert np.unique(np.delete(labels, indices, axis=0)).tolist() == [IGNORE]
        label = SimpleITK.ReadImage(str(tmp_path / "work" / "labels" / f"{case}.nii.gz"))
        image = SimpleITK.ReadImage(str(tmp_path / "work" / "images" / f"{case}_0000.nii.gz"))
        raw = own_sparse / "nnUNet_raw" / DATASET / "imagesUn" / f"{case}_0000.nii.gz"
        assert (tmp_path / "work" / "images" / raw.name).read_bytes() == raw.read_bytes()
        assert suggestion.image_checksums[raw.name] == checksum(raw)
        for kind in ("Spacing", "Origin", "Direction", "Size"):
            np.testing.assert_allclose(getattr(label, f"Get{kind}")(), getattr(image, f"Get{kind}")(), atol=1e-5)
        assert min(indices) >= 2  # the first two slices are empty


@pytest.mark.usefixtures("without_pictures")
def test_what_is_annotated_is_kept_and_not_suggested(sparse, work):
    """Budget enough for all: every slice that is not annotated is suggested, and no other."""
    suggestion = run(work, budget=len(CASES) * 4 + len(UNLABELED) * 10)
    chosen = suggestion.chosen()
    assert {case: chosen[case] for case in CASES} == {case: list(IGNORED) for case in CASES}
    assert {case: chosen[case] for case in UNLABELED} == {case: list(range(2, 12)) for case in UNLABELED}
    assert len(suggestion.annotated_before) == len(CASES) * 8
    before = SimpleITK.ReadImage(str(sparse / "nnUNet_raw" / DATASET / "labelsTr" / "case_01.nii.gz"))
    before, after = SimpleITK.GetArrayFromImage(before), labels_of(work, "case_01")
    annotated = [index for index in range(12) if index not in IGNORED]
    assert np.array_equal(before[annotated], after[annotated])
    assert np.unique(after[list(IGNORED)]).tolist() == [0]
    assert set(suggestion.copied_slices) == set(CASES)
    assert suggestion.copied_slices["case_01"] == slice_digests(after, 0, annotated)


@pytest.mark.usefixtures("without_pictures")
def test_patients_without_annotation_come_first(sparse, work):
    suggestion = run(work, budget=4)
    assert {entry.patient for entry in suggestion.slices} == set(UNLABELED)


@pytest.fixture(scope="module")
def with_test_patients(sparse_root, tmp_path_factory):
    """The work folder, with features, of a dataset whose patients are partly of the test and the validation set."""
    root = copy_dataset(sparse_root, tmp_path_factory.mktemp("test_patients") / "nnunet")
    raw = root / "nnUNet_raw" / DATASET
    (raw / "imagesTs").mkdir()
    SimpleITK.WriteImage(SimpleITK.Image(4, 4, 4, SimpleITK.sitkFloat32), str(raw / "imagesTs" / "test_0000.nii.gz"))
    patients = {case: {"patient": case, "group": None} for case in (*CASES, *UNLABELED)}
    patients |= {"test": {"patient": "scan_03", "group": None}, "scan_02": {"patient": CASES[4], "group": None}}
    write_json(patients, raw / "patients.json")
    with pytest.MonkeyPatch.context() as patch:
        prepare_for_training(patch, root / "nnUNet_preprocessed" / DATASET, root)
        run(root / "work", budget=1, fold=0)
        yield root / "work"


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("selector", SELECTORS)
def test_no_validation_or_test_patient_is_ever_suggested(with_test_patients, tmp_path, selector):
    shutil.copytree(with_test_patients / "features", tmp_path / "work" / "features")
    available = 4 * 4 + 2 * 10
    suggestion = run(tmp_path / "work", selector=selector, budget=available, fold=0)
    assert set(suggestion.chosen()) == {*CASES[:4], "scan_00", "scan_01"}
    assert not {item.case for item in suggestion.annotated_before} & validation_patients()
    assert suggestion.patients_left_out == {
        "scan_03": "in imagesTs",
        CASES[4]: "in the validation set of fold 0",
        CASES[5]: "in the validation set of fold 0",
    }
    with pytest.raises(UserError, match=f"from 1 to {available}"):
        run(tmp_path / "more", selector=selector, budget=available + 1, fold=0)
    assert not (tmp_path / "more").exists()


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_a_seed_gives_one_suggestion(sparse, computed, tmp_path, configuration):
    assert run(tmp_path / "again", configuration) == read_suggestion(computed[configuration])
    for name in ("worklist.csv", "overview.html"):
        assert (tmp_path / "again" / name).read_bytes() == (computed[configuration] / name).read_bytes()


def test_the_worklist_counts_as_viewers_do(computed):
    suggestion = read_suggestion(computed["2d"])
    with (computed["2d"] / "worklist.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for entry, row in zip(suggestion.slices, rows, strict=True):
        assert (row["rank"], row["case"], row["axis"]) == (str(entry.rank), entry.case, "z")
        assert int(row["slice_itk_snap"]) == int(row["slice_3d_slicer"]) + 1 == entry.index + 1
        assert float(row["coverage"]) == pytest.approx(entry.coverage, abs=1e-4)
        assert 0 <= float(row["share_of_the_rest"]) <= 1
    coverages = [entry.coverage for entry in suggestion.slices]
    assert coverages == sorted(coverages)


def test_the_overview_needs_nothing_from_elsewhere(computed):
    page = (computed["2d"] / "overview.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == 6 + 2
    assert page.count("src=") == 6 + 2
    assert "http" not in page
    assert "Scans represented" in page


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("axis", [1, 2])
def test_slices_across_another_axis_of_a_3d_configuration(sparse, tmp_path, axis):
    suggestion = run(tmp_path / "work", "3d_fullres", axis=axis, budget=4)
    assert set(suggestion.axes.values()) == {axis}
    for case, indices in suggestion.chosen().items():
        labels = np.moveaxis(labels_of(tmp_path / "work", case), axis, 0)
        assert np.unique(labels[indices]).tolist() == [0]
        assert np.unique(np.delete(labels, indices, axis=0)).tolist() == [IGNORE]
    with pytest.raises(UserError, match="--axis"):
        run(tmp_path / "other", "2d", axis=axis)


@pytest.mark.usefixtures("without_pictures")
def test_whole_scans(sparse, work, tmp_path):
    suggestion = run(work, unit="cases", budget=2)
    chosen = suggestion.chosen()
    assert len(chosen) == 2
    assert set(chosen) <= set(UNLABELED)
    assert all(indices == list(range(12)) for indices in chosen.values())
    with pytest.raises(UserError, match="--cases must be from 1 to 10"):
        run(tmp_path / "more", unit="cases", budget=11)


def test_selectors_without_features_need_no_pretraining(own_sparse, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "empty"))
    suggestion = run(tmp_path / "work", selector="one_per_patient", budget=4)
    assert suggestion.checkpoint is suggestion.features is suggestion.slices[0].coverage is None
    assert {entry.patient for entry in suggestion.slices} == set(UNLABELED)
    assert "Coverage over the budget" not in (tmp_path / "work" / "overview.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("without_pictures")
def test_a_click_says_where_the_structure_is(sparse, work):
    suggestion, notes = suggest(
        DATASET, "2d", PLANS, work, SuggestSettings(budget=4, click=Click("scan_00", (16, 16, 6)))
    )
    assert suggestion.like == {"case": "scan_00", "point": [16, 16, 6]}
    assert suggestion.features["weighting"] == "structure"
    assert any("click in scan_00" in note for note in notes)


@pytest.mark.usefixtures("without_pictures")
def test_annotated_foreground_says_where_the_structure_is_and_without_any_all_pixels_count(own_sparse, tmp_path):
    assert run(tmp_path / "first").features["weighting"] == "structure"
    without_labels(own_sparse)
    _, notes = suggest(DATASET, "2d", PLANS, tmp_path / "second", SuggestSettings(budget=4))
    assert any("All pixels count the same" in note for note in notes)


@pytest.mark.usefixtures("without_pictures")
def test_a_draft_fills_the_chosen_slices_alone(sparse, work, tmp_path):
    plain = run(work, budget=2)
    shutil.copytree(work, tmp_path / "drafted")
    drafted = run(tmp_path / "drafted", budget=2, draft=True)
    assert plain.slices == drafted.slices
    assert read_suggestion(tmp_path / "drafted") == drafted
    assert (plain.drafts, set(drafted.drafts)) == ({}, set(drafted.chosen()))
    changed = 0
    for case, indices in drafted.chosen().items():
        before, after = labels_of(work, case), labels_of(tmp_path / "drafted", case)
        assert np.array_equal(np.delete(before, indices, axis=0), np.delete(after, indices, axis=0))
        assert IGNORE not in after[indices]
        assert drafted.drafts[case] == slice_digests(after, 0, indices)
        changed += int((before != after).sum())
    assert changed > 0
    assert not (tmp_path / "drafted" / "drafts").exists()
