"""Labels of the dataset that were changed while somebody drew by the earlier values."""

import pytest
from work_folders import IGNORE_LABELS, without_digests

from nnunet_pix2rep.annotation.collect.labels.meanings import changed_meanings
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json

HEART = {"background": 0, "LV": 1, "RV": 2, "ignore": 3}
REGIONS = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
CHOSEN = {"case_00": [6]}
INSERTED = {"background": 0, "ring": 1, "core": 2, "rim": 3, "ignore": 4}


def with_labels(scans, labels):
    for folder in (scans.raw, scans.preprocessed):
        write_json(read_json(folder / "dataset.json") | {"labels": labels}, folder / "dataset.json")


@pytest.mark.parametrize(
    ("then", "now", "changes"),
    [
        (HEART, HEART, []),
        ({}, HEART, []),
        (HEART, HEART | {"MYO": 4}, []),
        (HEART, HEART | {"heart": [1, 2]}, []),
        (REGIONS, REGIONS | {"edge": [1]}, []),
        (REGIONS, REGIONS | {"whole": [2, 1]}, []),
        (HEART, HEART | {"MYO": 3, "ignore": 4}, ["3 was ignore and is MYO now"]),
        (HEART, HEART | {"LV": 2, "RV": 1}, ["1 was LV and is RV now", "2 was RV and is LV now"]),
        (HEART, {"background": 0, "LV": 1, "RV": 2}, ["3 was ignore and is no label now"]),
        (REGIONS, REGIONS | {"whole": [1], "core": [2]}, ["2 was core, whole and is core now"]),
    ],
)
def test_a_value_that_means_something_else_is_named(then, now, changes):
    assert changed_meanings(then, now) == changes


def test_labels_that_were_inserted_since_the_suggestion_are_refused(scans):
    """Everything that is ignore in the label file would be taken as the new label."""
    scans.prepare(CHOSEN)
    with_labels(scans, INSERTED)
    before = scans.contents()
    with pytest.raises(UserError) as error:
        scans.collect(empty_slices="later")
    assert "3 was ignore and is rim now" in str(error.value)
    assert str(scans.work / "suggestion.json") in str(error.value)
    assert str(scans.raw / "dataset.json") in str(error.value)
    assert scans.contents() == before
    with_labels(scans, IGNORE_LABELS)
    assert scans.collect().slices == CHOSEN


def test_label_files_that_were_brought_up_to_date_are_taken(scans):
    scans.prepare(CHOSEN)
    with_labels(scans, INSERTED)
    labels = scans.drawn("case_00")
    labels[labels == IGNORE_LABELS["ignore"]] = INSERTED["ignore"]
    scans.write("case_00", labels)
    file = scans.work / "suggestion.json"
    write_json(read_json(file) | {"labels": INSERTED}, file)
    assert scans.collect().slices == CHOSEN
    assert (scans.taken("case_00") == labels).all()


def test_a_work_folder_of_an_earlier_version_is_taken_as_before(scans):
    scans.prepare(CHOSEN)
    scans.collect()
    without_digests(scans)
    assert scans.collect().slices == CHOSEN
