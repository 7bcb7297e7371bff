"""Slices that were not to be annotated and in which nobody has drawn: a viewer has lost the ignore label."""

import numpy as np
import pytest
from tiny_training import SHAPE
from work_folders import CHOSEN, IGNORE, KEPT, expected

from nnunet_pix2rep.annotation.collect.checks import check_labels
from nnunet_pix2rep.annotation.collect.outside import blank_among
from nnunet_pix2rep.errors import UserError

BLANK = "not chosen, nothing is drawn, and yet not ignore"
LEFT = f"case_03.nii.gz, slice 0 to 2, 4 to 6, 8 to 11: {BLANK}; left as it was before"


def lose_ignore(scans, case):
    labels = scans.drawn(case)
    labels[labels == IGNORE] = 0
    scans.write(case, labels)


@pytest.fixture
def lost(scans):
    """Everything is drawn, and one file was exported without the ignore label."""
    scans.prepare(CHOSEN)
    lose_ignore(scans, "case_03")
    return scans


@pytest.mark.parametrize("empty_slices", ["refuse", "background"])
def test_background_that_nobody_has_looked_at_is_refused(lost, empty_slices):
    before = lost.contents()
    with pytest.raises(UserError) as error:
        lost.collect(empty_slices=empty_slices)
    assert f"case_03.nii.gz, slice 0 to 2, 4 to 6, 8 to 11: {BLANK}" in str(error.value)
    assert "No pixel of the file is ignore (3): was that label lost on export?" in str(error.value)
    assert "case_00" not in str(error.value)
    assert lost.contents() == before


def test_left_for_later_it_is_ignore_again(lost):
    report = lost.collect(empty_slices="later")
    assert report.slices == CHOSEN
    assert LEFT in report.notes
    np.testing.assert_array_equal(lost.taken("case_03"), expected(lost, "case_03", [3, 7]))


def test_a_scan_that_was_drawn_in_full_is_taken_by_its_name(lost):
    whole = np.zeros(SHAPE)
    whole[2:10] = lost.truth("case_03")[2:10]
    lost.write("case_03", whole)
    for options in ({}, {"empty_slices": "background"}):
        with pytest.raises(UserError, match=f"slice 0, 1, 10, 11: {BLANK}"):
            lost.collect(**options)
    report = lost.collect(named_empty=["case_03"])
    assert report.slices["case_03"] == list(range(SHAPE[0]))
    np.testing.assert_array_equal(lost.taken("case_03"), whole)
    before = lost.contents()
    assert lost.collect().slices == report.slices  # found to be done, it need not be named again
    assert lost.contents() == before


@pytest.mark.parametrize("empty_slices", ["refuse", "later"])
def test_single_slices_are_taken_by_their_names(lost, empty_slices):
    labels = lost.drawn("case_03")
    labels[8:] = IGNORE
    lost.write("case_03", labels)
    named = [f"case_03:{index}" for index in (0, 1, 2, 4, 5, 6)]
    report = lost.collect(empty_slices=empty_slices, named_empty=named)
    assert "case_03.nii.gz, slice 0 to 2, 4 to 6: not chosen and nothing is drawn, taken as background" in report.notes
    assert report.slices["case_03"] == list(range(8))
    with pytest.raises(UserError, match="slice 9: named as empty, but this slice was not to be annotated"):
        lost.collect(empty_slices=empty_slices, named_empty=["case_03:9"])


def test_what_is_drawn_beside_them_is_still_taken(lost):
    lost.draw({"case_03": [5]})
    report = lost.collect(empty_slices="later")
    assert report.slices["case_03"] == [3, 5, 7]
    assert "case_03.nii.gz, slice 5: annotated though not chosen; taken too" in report.notes
    np.testing.assert_array_equal(lost.taken("case_03"), expected(lost, "case_03", [3, 5, 7]))


@pytest.mark.parametrize("options", [{"empty_slices": "later"}, {"named_empty": ["case_03"]}])
def test_what_another_folder_has_brought_stays(scans, options):
    scans.prepare({"case_03": [3]})
    scans.collect()
    scans.suggest({"case_03": [7]}, seed=1)  # as if both folders had been made before the first was collected
    scans.draw({"case_03": [7]})
    lose_ignore(scans, "case_03")
    assert KEPT in scans.collect(**options).notes
    np.testing.assert_array_equal(scans.taken("case_03")[3], scans.truth("case_03")[3])


def test_pixels_that_were_left_unclear_before_do_not_become_background():
    before = np.full(SHAPE, IGNORE, dtype=np.int16)
    before[2], before[2, 1, 1], before[2, 3] = 0, 1, IGNORE
    labels = np.where(before == IGNORE, 0, before)
    labels[5, 1, 1] = 1
    options = {"chosen": [5], "known_before": [2], "before": before}
    (problem,) = check_labels(labels, 0, {0, 1, IGNORE}, IGNORE, **options).problems
    assert problem.startswith(f"slice 0 to 4, 6 to 11: {BLANK}.")
    result = check_labels(labels, 0, {0, 1, IGNORE}, IGNORE, **options, empty_slices="later")
    np.testing.assert_array_equal(result.labels[2], before[2])
    assert result.slices == [5]


def test_an_erased_slice_in_a_file_with_ignore():
    labels = np.full(SHAPE, IGNORE, dtype=np.int16)
    labels[[2, 4]], labels[2, 1, 1] = 0, 1
    (problem,) = check_labels(labels, 0, {0, 1, IGNORE}, IGNORE, chosen=[2]).problems
    assert "Was the ignore label (3), or a drawing, erased there?" in problem


def test_a_correction_of_what_was_annotated_before_is_a_drawing():
    old = np.full((4, 2, 2), IGNORE)
    old[1:] = 1
    new = np.zeros_like(old)
    new[2], new[3, 0] = 1, 1
    assert blank_among([0, 1, 2, 3], new, old, IGNORE) == [0, 1, 2]
