"""Two annotators who draw in copies of one work folder, which have the same ``suggestion.json``."""

import shutil

import numpy as np
import pytest
from tiny_training import DATASET
from work_folders import CHOSEN, KEPT, REPLACED, correct, without_digests

from nnunet_pix2rep.annotation.collect.run import collect
from nnunet_pix2rep.cli.main import main
from nnunet_pix2rep.nnunet.data.annotation_record import read_annotations


class Copies:
    """Folders ``A`` and ``B``, of which ``A`` was drawn in, at slice 3 of case_03, and collected."""

    def __init__(self, scans):
        self.scans = scans
        scans.suggest(CHOSEN)
        scans.work.rename(scans.root / "A")
        shutil.copytree(scans.root / "A", scans.root / "B")
        self.draw("A", 1)
        self.collect("A")

    def draw(self, folder, value, index=3):
        self.scans.labels = self.scans.root / folder / "labels"
        labels = self.scans.drawn("case_03")
        labels[index] = 0
        labels[index, 4:9, 4:9] = value
        self.scans.write("case_03", labels)

    def collect(self, folder, **options):
        return collect(DATASET, self.scans.root / folder / "labels", **{"empty_slices": "later"} | options)

    def value(self, index=3):
        """What was drawn in the slice that the dataset has now."""
        return self.scans.taken("case_03")[index, 5, 5]


@pytest.fixture
def copies(scans):
    return Copies(scans)


def test_another_drawing_of_a_chosen_slice_is_taken_with_a_note(copies):
    first = (copies.scans.raw / "labelsTr" / "case_03.nii.gz").read_bytes()
    copies.draw("B", 2)
    report = copies.collect("B")
    assert REPLACED in report.notes
    assert copies.value() == 2
    assert (report.backup / "case_03.nii.gz").read_bytes() == first


@pytest.mark.parametrize("newer", [["B"], ["dataset"], ["B", "dataset"], ["dataset", "B"]], ids=" ".join)
def test_a_drawing_that_was_collected_before_never_replaces_a_newer_one(copies, newer):
    for place in newer:
        if place == "B":
            copies.draw("B", 2)
            copies.collect("B")
        else:
            correct(copies.scans, "case_03", 3)
    labels = copies.scans.taken("case_03")
    report = copies.collect("A", dry_run=True)
    assert (report.changed, KEPT in report.notes) == ([], True)
    for folder in (*(place for place in newer if place == "B"), "A"):
        report = copies.collect(folder)
        assert (report.changed, report.backup) == ([], None)
    np.testing.assert_array_equal(copies.scans.taken("case_03"), labels)


def test_the_rest_of_a_folder_is_taken_beside_a_newer_drawing(copies):
    copies.draw("B", 2)
    copies.collect("B")
    copies.draw("A", 1, index=7)
    assert KEPT in copies.collect("A").notes
    assert (copies.value(3), copies.value(7)) == (2, 1)


def test_a_folder_that_lacks_the_suggestion_brings_no_older_drawing_either(copies):
    copies.draw("B", 2)
    copies.collect("B")
    alone = copies.scans.root / "alone" / "labels"
    alone.mkdir(parents=True)
    shutil.copy(copies.scans.root / "A" / "labels" / "case_03.nii.gz", alone)
    assert KEPT in copies.collect("alone").notes
    assert copies.value() == 2
    assert len(read_annotations(copies.scans.raw)) == 2
    copies.collect("alone")
    assert len(read_annotations(copies.scans.raw)) == 2


def test_a_drawing_that_is_new_replaces_the_other_again(copies):
    copies.draw("B", 2)
    copies.collect("B")
    copies.scans.labels = copies.scans.root / "A" / "labels"
    labels = copies.scans.drawn("case_03")
    labels[3, 0, 0] = 1
    copies.scans.write("case_03", labels)
    assert REPLACED in copies.collect("A").notes
    np.testing.assert_array_equal(copies.scans.taken("case_03")[3], labels[3])


@pytest.mark.parametrize("empty_slices", ["background", "later", "refuse"])
def test_a_slice_that_is_blank_in_a_copy_does_not_replace_a_drawing(copies, empty_slices):
    copies.draw("B", 2, index=7)
    options = {"named_empty": ["case_00"]} if empty_slices == "refuse" else {}
    assert KEPT in copies.collect("B", empty_slices=empty_slices, **options).notes
    assert (copies.value(3), copies.value(7)) == (1, 2)


@pytest.mark.parametrize("name", ["case_03", "case_03:3"])
def test_an_older_drawing_that_is_wanted_back_is_taken(copies, name):
    copies.draw("B", 2)
    copies.collect("B")
    report = copies.collect("A", put_back=[name])
    assert REPLACED in report.notes
    assert report.backup is not None
    assert copies.value() == 1
    assert KEPT in copies.collect("B").notes
    assert copies.value() == 1


def test_a_change_that_is_undone_in_the_folder_is_wanted_back_by_name_too(copies):
    copies.draw("A", 2)
    copies.collect("A")
    copies.draw("A", 1)
    assert KEPT in copies.collect("A").notes
    assert copies.value() == 2
    copies.collect("A", put_back=["case_03:3"])
    assert copies.value() == 1


@pytest.mark.parametrize("name", ["case_05", "case_03:12", "case_03:x"])
def test_what_is_wanted_back_must_be_there(copies, name, capsys):
    labels = str(copies.scans.root / "A" / "labels")
    assert main(["collect", "-d", "901", "-i", labels, "--leave-empty", "--put-back", name]) == 1
    assert "--put-back" in capsys.readouterr().err


def test_what_an_earlier_version_collected_is_known_once_it_is_replaced(copies):
    copies.scans.work = copies.scans.root / "A"
    without_digests(copies.scans)
    copies.draw("B", 2)
    copies.collect("B")
    assert KEPT in copies.collect("A").notes
    assert copies.value() == 2


def test_the_command_names_case_and_slice(copies, capsys):
    copies.draw("B", 2)
    for folder, note in (("B", REPLACED), ("A", KEPT)):
        assert main(["collect", "-d", "901", "-i", str(copies.scans.root / folder / "labels"), "--leave-empty"]) == 0
        assert f"Note: {note}\n" in capsys.readouterr().out
