"""Half-finished folders: what is drawn is taken, the rest waits for a later collect."""

import numpy as np
import pytest
from tiny_training import SHAPE
from work_folders import IGNORE, expected, names_in

from nnunet_pix2rep.annotation.collect.checks import check_labels
from nnunet_pix2rep.annotation.label_files import labels_to_draw_in
from nnunet_pix2rep.cli.main import main
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.annotation_record import read_annotations

CHOSEN = {"case_00": [6], "case_01": [4], "case_03": [3, 7]}


def test_what_is_drawn_is_taken_and_the_rest_later_from_the_same_folder(scans):
    scans.suggest(CHOSEN)
    scans.draw({"case_03": [3]})
    (scans.labels / "case_01.nii.gz").unlink()  # a colleague has it
    report = scans.collect(empty_slices="later")
    assert report.slices == {"case_03": [3]}
    assert report.left == ["case_00", "case_01"]
    assert any("slice 7: nothing is drawn, left for later" in note for note in report.notes)
    assert names_in(scans.raw / "imagesTr") == ["case_03_0000.nii.gz"]
    np.testing.assert_array_equal(scans.taken("case_03"), expected(scans, "case_03", [3]))
    before = scans.contents()
    scans.collect(empty_slices="later")
    assert scans.contents() == before
    scans.write("case_01", labels_to_draw_in(SHAPE, 0, CHOSEN["case_01"], IGNORE))
    scans.draw(CHOSEN)
    report = scans.collect()
    assert report.slices == CHOSEN
    assert report.left == []
    for case, slices in CHOSEN.items():
        np.testing.assert_array_equal(scans.taken(case), expected(scans, case, slices))
    (entry,) = read_annotations(scans.raw)
    assert {case: taken.slices for case, taken in entry.cases.items()} == CHOSEN


def test_a_folder_in_which_nothing_is_drawn_yet(scans):
    scans.suggest(CHOSEN)
    before = scans.contents()
    with pytest.raises(UserError, match="Nothing is drawn in any label file"):
        scans.collect(empty_slices="later")
    assert scans.contents() == before


def test_what_is_wrong_elsewhere_is_still_refused(scans):
    scans.suggest(CHOSEN)
    scans.draw({"case_03": [3]})
    labels = scans.drawn("case_00")
    labels[6, 0, 0] = 9
    scans.write("case_00", labels)
    with pytest.raises(UserError, match="slice 6: the value 9"):
        scans.collect(empty_slices="later")


@pytest.mark.parametrize("before", [None, np.full(SHAPE, IGNORE, dtype=np.int16)])
@pytest.mark.parametrize("whole_scan", [True, False], ids=["suggest --cases", "a budget for every slice"])
def test_of_a_whole_scan_too_only_what_is_drawn_is_taken(whole_scan, before):
    labels = np.zeros(SHAPE, dtype=np.int16)
    options = {"chosen": range(SHAPE[0]), "whole_scan": whole_scan, "empty_slices": "later", "before": before}
    assert check_labels(labels, 0, {0, 1, IGNORE}, IGNORE, **options).slices == []
    labels[3, 1, 1] = 1
    result = check_labels(labels, 0, {0, 1, IGNORE}, IGNORE, **options)
    assert (result.slices, result.problems) == ([3], [])
    assert result.notes == ["slice 0 to 2, 4 to 11: nothing is drawn, left for later"]
    np.testing.assert_array_equal(result.labels[3], labels[3])
    assert (np.delete(result.labels, 3, axis=0) == IGNORE).all()


def test_without_an_ignore_label_a_scan_waits_or_is_taken_as_a_whole():
    """Nothing could stand in the slices that are left, so background there would be wrong labels."""
    labels = np.zeros(SHAPE, dtype=np.int16)
    options = {"chosen": range(SHAPE[0]), "whole_scan": True, "empty_slices": "later"}
    assert check_labels(labels, 0, {0, 1}, None, **options).slices == []
    labels[3, 1, 1] = 1
    result = check_labels(labels, 0, {0, 1}, None, **options)
    assert (result.slices, result.problems) == (list(range(SHAPE[0])), [])
    assert result.notes == ["slice 0 to 2, 4 to 11: nothing is drawn, taken as background"]


def test_a_whole_scan_that_was_half_done_is_completed_from_the_same_folder(scans):
    whole = {"case_00": range(SHAPE[0])}
    scans.suggest(whole)
    scans.draw({"case_00": [5]})
    scans.collect(empty_slices="later")
    np.testing.assert_array_equal(scans.taken("case_00"), expected(scans, "case_00", [5]))
    scans.draw(whole)
    scans.collect()
    np.testing.assert_array_equal(scans.taken("case_00"), scans.truth("case_00"))


def test_the_command(scans, capsys):
    scans.suggest(CHOSEN)
    scans.draw({"case_03": [3, 7]})
    assert main(["collect", "-d", "901", "-i", str(scans.labels)]) == 1
    assert "--leave-empty" in capsys.readouterr().err
    assert main(["collect", "-d", "901", "-i", str(scans.labels), "--leave-empty"]) == 0
    printed = capsys.readouterr().out
    assert "Left for later, nothing is drawn or corrected yet: case_00, case_01" in printed
    assert "2 slices of 1 cases taken" in printed
