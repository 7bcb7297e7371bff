"""Slices that are named as done and empty before the folder is finished."""

import numpy as np
import pytest
from tiny_training import SHAPE
from work_folders import IGNORE

from nnunet_pix2rep.annotation.collect.checks import check_labels
from nnunet_pix2rep.cli.main import main
from nnunet_pix2rep.errors import UserError

CHOSEN = {"case_00": [6], "case_01": [4], "case_03": [3, 7, 9]}
LATER = "case_03.nii.gz, slice 9: nothing is drawn, left for later"
NAMES = ["case_00", "case_03:7"]


@pytest.fixture
def half_done(scans):
    scans.suggest(CHOSEN)
    scans.draw({"case_03": [3]})
    return scans


def test_those_that_are_named_are_taken_as_background_and_the_others_are_left(half_done):
    report = half_done.collect(empty_slices="later", named_empty=NAMES)
    assert report.slices == {"case_00": [6], "case_03": [3, 7]}
    assert report.left == ["case_01"]
    assert LATER in report.notes
    assert "case_03.nii.gz, slice 7: nothing is drawn, taken as background" in report.notes
    for case, index in (("case_00", 6), ("case_03", 7)):
        assert (half_done.taken(case)[index] == 0).all()
    assert (half_done.taken("case_03")[9] == IGNORE).all()


def test_what_was_found_to_be_empty_stays_so_without_being_named_again(half_done):
    half_done.collect(empty_slices="later", named_empty=NAMES)
    before = half_done.contents()
    report = half_done.collect(empty_slices="later")
    assert report.slices == {"case_00": [6], "case_03": [3, 7]}
    assert report.notes == [LATER]
    assert half_done.contents() == before
    half_done.draw({"case_01": [4], "case_03": [9]})
    assert half_done.collect().slices == CHOSEN


def test_what_is_drawn_later_in_an_empty_slice_is_taken(half_done):
    half_done.collect(empty_slices="later", named_empty=NAMES)
    half_done.draw({"case_03": [7]})
    report = half_done.collect(empty_slices="later")
    assert "case_03.nii.gz, slice 7: annotated before and changed now; the new labels are taken" in report.notes
    np.testing.assert_array_equal(half_done.taken("case_03")[7], half_done.truth("case_03")[7])


def test_without_leave_empty_the_others_are_refused(half_done):
    with pytest.raises(UserError) as error:
        half_done.collect(named_empty=NAMES)
    assert "case_01.nii.gz, slice 4: nothing is drawn" in str(error.value)
    assert "case_03.nii.gz, slice 9: nothing is drawn" in str(error.value)
    assert "case_00" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("case_99", "--allow-empty case_99: this is no case with a label file here"),
        ("case_00:five", "--allow-empty case_00:five: this is no case with a label file here"),
        ("case_00:5", "case_00.nii.gz, slice 5: named as empty, but this slice was not to be annotated"),
        ("case_03:3", "case_03.nii.gz, slice 3: named as empty, but something is drawn in it"),
    ],
)
def test_a_name_that_does_not_fit_is_refused(half_done, name, reason):
    before = half_done.contents()
    with pytest.raises(UserError) as error:
        half_done.collect(empty_slices="later", named_empty=[*NAMES, name])
    assert reason in str(error.value)
    assert half_done.contents() == before


def test_a_slice_that_another_folder_has_brought_is_not_empty(half_done):
    half_done.collect(empty_slices="later")
    half_done.suggest(CHOSEN, seed=1)
    with pytest.raises(UserError, match="slice 3: named as empty, but the dataset has newer labels of it"):
        half_done.collect(empty_slices="later", named_empty=["case_03:3"])
    report = half_done.collect(empty_slices="later", named_empty=["case_03:3"], put_back=["case_03:3"])
    assert (half_done.taken("case_03")[3] == 0).all()
    assert report.backup is not None


def test_a_slice_found_empty_does_not_make_the_rest_of_a_whole_scan_background():
    labels, before = np.zeros(SHAPE, dtype=np.int16), np.full(SHAPE, IGNORE, dtype=np.int16)
    before[2] = 0
    options = {"chosen": range(SHAPE[0]), "whole_scan": True, "before": before}
    (problem,) = check_labels(labels, 0, {0, 1, IGNORE}, IGNORE, **options).problems
    assert problem.startswith("slice 0, 1, 3 to 11: nothing is drawn.")


def test_without_an_ignore_label_no_single_slice_is_taken():
    labels = np.zeros(SHAPE, dtype=np.int16)
    result = check_labels(labels, 0, {0, 1}, None, empty_slices="later", named_empty=[2])
    assert "slice 2: without an ignore label a scan is taken as a whole. Name the case alone" in result.problems


def test_the_command_takes_names_together_with_leave_empty(half_done, capsys):
    command = ["collect", "-d", "901", "-i", str(half_done.labels), "--leave-empty", "--allow-empty"]
    assert main(command) == 1
    assert "name the slices that are done and empty" in capsys.readouterr().err
    assert main([*command, *NAMES]) == 0
    assert "3 slices of 2 cases taken" in capsys.readouterr().out
