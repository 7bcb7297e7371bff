import shutil
from pathlib import Path

import numpy as np
import pytest
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from tiny_training import CASES, DATASET, PLANS, make_trainer
from work_folders import CHOSEN, FOLDERS, IGNORE, expected, names_in

from nnunet_pix2rep.annotation.collect.run import collect
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.data.annotation_record import read_annotations
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase
from nnunet_pix2rep.nnunet.loading.training_images import available_images
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepPretrain
from nnunet_pix2rep.nnunet.unlabeled.pool import pool_folder, read_pool
from nnunet_pix2rep.nnunet.unlabeled.preprocess import preprocess_unlabeled


class FromScratch(Pix2RepFinetuneTrainer):
    needs_pretrained_weights = False


def test_the_first_labels_of_a_dataset_without_any(scans):
    scans.prepare(CHOSEN)
    pooled = {
        folder: ImageCase("case_00", str(scans.preprocessed / f"{folder}_unlabeled")).open()[:] for folder in FOLDERS
    }
    report = scans.collect()
    assert report.slices == CHOSEN
    assert report.changed == report.moved == list(CHOSEN)
    assert report.backup is None
    assert names_in(scans.raw / "imagesTr") == ["case_00_0000.nii.gz", "case_03_0000.nii.gz"]
    assert names_in(scans.raw / "labelsTr") == ["case_00.nii.gz", "case_03.nii.gz"]
    assert len(names_in(scans.raw / "imagesUn")) == len(CASES) - 2
    for case, slices in CHOSEN.items():
        np.testing.assert_array_equal(scans.taken(case), expected(scans, case, slices))
    for folder in (scans.raw, scans.preprocessed):
        assert read_json(folder / "dataset.json")["numTraining"] == 2
    assert names_in(scans.preprocessed / "gt_segmentations") == names_in(scans.raw / "labelsTr")
    for folder in FOLDERS:
        assert report.preprocessed[folder] == list(CHOSEN)
        image, labels, _, properties = nnUNetDatasetBlosc2(str(scans.preprocessed / folder)).load_case("case_00")
        np.testing.assert_array_equal(image[:], pooled[folder])  # what was pretrained on stays the same to the last bit
        np.testing.assert_array_equal(labels[0], expected(scans, "case_00", [6]))
        assert (np.asarray(properties["class_locations"][(-1, 0, 1, 2)])[:, 1] == 6).all()


def test_the_pool_gives_up_what_is_labeled_now(scans):
    scans.prepare(CHOSEN)
    scans.collect()
    for folder in FOLDERS:
        pool = read_pool(pool_folder(scans.preprocessed, folder))
        assert set(pool.images) == set(CASES) - set(CHOSEN)
        assert {name.split(".")[0] for name in names_in(pool.folder)} == set(pool.images)
    images = available_images(make_trainer(nnUNetTrainerPix2RepPretrain, scans.preprocessed, "all"))
    assert set(images) == set(CASES)
    assert {Path(images[case].folder).name for case in CHOSEN} == {FOLDERS[0]}
    again = preprocess_unlabeled(DATASET, "2d", PLANS, num_processes=1)
    assert (again.num_made, again.num_kept, dict(again.removed)) == (0, len(CASES) - 2, {})


@pytest.mark.parametrize(
    ("place", "given_up"),
    [(f"/elsewhere/{DATASET}", set(CHOSEN)), ("/elsewhere/Dataset007_Other", set())],
    ids=["the dataset before it was moved", "another dataset with cases of these names"],
)
def test_the_pool_gives_up_what_came_from_this_dataset(scans, place, given_up):
    for record in scans.preprocessed.glob("*_unlabeled.json"):
        record.write_text(record.read_text().replace(str(scans.raw), place))
    scans.prepare(CHOSEN)
    scans.collect()
    for folder in FOLDERS:
        assert set(read_pool(pool_folder(scans.preprocessed, folder)).images) == set(CASES) - given_up


def test_collecting_twice_changes_nothing(scans):
    scans.prepare(CHOSEN)
    scans.collect()
    before = scans.contents()
    report = scans.collect()
    assert report.changed == report.moved == []
    assert report.preprocessed == {folder: [] for folder in FOLDERS}
    assert scans.contents() == before


def test_a_dry_run_changes_nothing(scans):
    scans.prepare(CHOSEN)
    before = scans.contents()
    assert scans.collect(dry_run=True).changed == list(CHOSEN)
    assert scans.contents() == before


def test_a_second_round_keeps_what_was_annotated_before(scans):
    scans.prepare(CHOSEN)
    scans.collect()
    first = (scans.raw / "labelsTr" / "case_03.nii.gz").read_bytes()
    second = {"case_03": [9], "case_05": [6]}
    scans.prepare(second, before=CHOSEN, seed=1)
    report = scans.collect()
    np.testing.assert_array_equal(scans.taken("case_03"), expected(scans, "case_03", [3, 7, 9]))
    np.testing.assert_array_equal(scans.taken("case_00"), expected(scans, "case_00", [6]))
    assert report.preprocessed == {folder: ["case_03", "case_05"] for folder in FOLDERS}
    assert (report.backup / "case_03.nii.gz").read_bytes() == first
    assert report.backup.parent == scans.raw / "labelsTr_backup"
    rounds = read_annotations(scans.raw)
    assert [entry.suggestion["seed"] for entry in rounds] == [0, 1]
    assert [{case: taken.slices for case, taken in entry.cases.items()} for entry in rounds] == [CHOSEN, second]
    assert read_annotations(scans.preprocessed) == rounds


def test_a_corrected_slice_replaces_the_one_that_was_taken(scans):
    scans.prepare(CHOSEN)
    scans.collect()
    labels = scans.drawn("case_00")
    labels[6, 0, 0] = 1
    scans.write("case_00", labels)
    report = scans.collect()
    assert report.changed == ["case_00"]
    assert scans.taken("case_00")[6, 0, 0] == 1
    assert read_json(scans.raw / "annotations.json")["rounds"][1:] == []


def test_without_a_suggestion_slices_are_those_that_are_not_ignored(scans):
    scans.prepare(CHOSEN)
    (scans.work / "suggestion.json").unlink()
    assert scans.collect().slices == CHOSEN
    (entry,) = read_annotations(scans.raw)
    assert entry.suggestion is None


@pytest.mark.parametrize("axis", [1, 2])
def test_slices_across_another_axis(scans, axis):
    scans.prepare({"case_01": [15]}, axis=axis)
    scans.collect()
    labels = np.moveaxis(scans.taken("case_01"), axis, 0)
    np.testing.assert_array_equal(labels[15], np.moveaxis(scans.truth("case_01"), axis, 0)[15])
    assert (np.delete(labels, 15, axis=0) == IGNORE).all()


def test_without_preprocessed_data_only_the_raw_dataset_is_touched(scans):
    shutil.rmtree(scans.preprocessed)
    scans.prepare(CHOSEN)
    report = scans.collect()
    assert report.preprocessed == {}
    assert names_in(scans.raw / "labelsTr") == ["case_00.nii.gz", "case_03.nii.gz"]
    assert not scans.preprocessed.exists()


def test_cases_outside_the_folds_are_named(scans):
    write_json([{"train": ["case_00"], "val": ["case_01"]}], scans.preprocessed / "splits_final.json")
    scans.prepare(CHOSEN)
    assert scans.collect().outside_folds == ["case_03"]


def test_patients_of_new_cases_are_added_where_patients_are_listed(scans):
    write_json({"case_00": {"patient": "Anna", "group": "A"}}, scans.raw / "patients.json")
    scans.prepare(CHOSEN)
    scans.collect()
    assert read_json(scans.raw / "patients.json") == {
        "case_00": {"patient": "Anna", "group": "A"},
        "case_03": {"patient": "patient_of_case_03", "group": None},
    }


def test_the_work_folder_may_be_named_instead_of_its_labels(scans):
    scans.prepare(CHOSEN)
    assert collect(DATASET, scans.work, dry_run=True).slices == CHOSEN


@pytest.mark.parametrize("linked", ["labels", "work"])
def test_the_suggestion_is_beside_a_link_or_beside_what_it_leads_to(scans, linked):
    """Labels on a network share, or a link to the labels of a work folder."""
    scans.prepare(CHOSEN)
    scans.draw({"case_03": [5]})
    link, shared = scans.labels, scans.root / "share" / "drawn"
    if linked == "labels":
        shared.parent.mkdir()
        scans.labels.rename(shared)
        link.symlink_to(shared)
    else:
        link = scans.root / "link"
        link.symlink_to(scans.labels)
    report = collect(DATASET, link, dry_run=True)
    assert report.suggestion is not None
    assert report.notes == ["case_03.nii.gz, slice 5: annotated though not chosen; taken too"]


def test_a_training_on_what_was_collected_records_where_it_came_from(scans):
    scans.prepare(CHOSEN)
    scans.collect()
    trainer = make_trainer(FromScratch, scans.preprocessed, "all", finetuning={"num_epochs": 1})
    trainer.run_training()
    record = load_checkpoint_file(Path(trainer.output_folder) / "checkpoint_final.pth")[RECORD_KEY]
    (entry,) = record["annotations"]
    assert entry["suggestion"]["selector"] == "random"
    assert {case: taken["slices"] for case, taken in entry["cases"].items()} == CHOSEN


def test_several_channels_move_together(scans):
    for folder in (scans.raw, scans.preprocessed):
        content = read_json(folder / "dataset.json") | {"channel_names": {"0": "MRI", "1": "MRI"}}
        write_json(content, folder / "dataset.json")
    for case in CASES:
        file = scans.raw / "imagesUn" / f"{case}_0000.nii.gz"
        shutil.copy(file, file.with_name(f"{case}_0001.nii.gz"))
    for plans in scans.preprocessed.glob("Tiny*Plans.json"):
        plans.unlink()
    scans.prepare(CHOSEN)
    scans.collect()
    assert names_in(scans.raw / "imagesTr") == [f"{case}_000{channel}.nii.gz" for case in CHOSEN for channel in (0, 1)]


def test_images_that_are_relative_links_still_lead_to_their_files(scans):
    """Both ways to keep images elsewhere: links in ``imagesUn``, and ``imagesUn`` a link itself."""
    away, store = scans.root / "far" / "away" / "imagesUn", scans.root / "far" / "store"
    away.parent.mkdir(parents=True)
    (scans.raw / "imagesUn").rename(store)
    away.mkdir()
    for file in store.iterdir():
        (away / file.name).symlink_to(Path("../../store") / file.name)
    (scans.raw / "imagesUn").symlink_to(away)
    stored = {file.name: file.read_bytes() for file in store.iterdir()}
    scans.prepare(CHOSEN)
    assert scans.collect().moved == sorted(CHOSEN)
    for case in CHOSEN:
        (image,) = (scans.raw / "imagesTr").glob(f"{case}_*.nii.gz")
        assert image.read_bytes() == stored[image.name]
        assert not (away / image.name).is_symlink()
    assert {file.name: file.read_bytes() for file in store.iterdir()} == stored


def test_a_copy_in_place_of_a_link_stays_as_private_as_the_scan(scans, monkeypatch):
    """Where the file system has no hard links."""

    def refuse(*_):
        raise OSError

    scans.prepare(CHOSEN)
    (image,) = scans.image_files("case_00")
    image.chmod(0o400)
    monkeypatch.setattr("nnunet_pix2rep.annotation.collect.take.os.link", refuse)
    scans.collect()
    (taken,) = scans.image_files("case_00")
    assert (taken.parent.name, taken.stat().st_mode & 0o777) == ("imagesTr", 0o400)
