"""Drafts that nobody has corrected are no annotations."""

import numpy as np
import pytest
from tiny_training import SHAPE
from work_folders import CHOSEN, IGNORE, KEPT, correct, expected, without_digests

from nnunet_pix2rep.annotation.collect.checks import check_labels
from nnunet_pix2rep.annotation.collect.drafts import CaseDrafts
from nnunet_pix2rep.annotation.slices import slice_digests
from nnunet_pix2rep.cli.main import main
from nnunet_pix2rep.errors import UserError

DRAFT = "still the draft that suggest filled in"


def drafts_of(scans):
    """Segmentations that show less than there is."""
    found = {case: scans.truth(case).copy() for case in CHOSEN}
    for labels in found.values():
        labels[:, : SHAPE[1] // 2] = 0
    return found


@pytest.fixture
def drafted(scans):
    """A work folder with drafts, of which one is corrected."""
    drafts = drafts_of(scans)
    assert all(drafts[case][index].any() for case, indices in CHOSEN.items() for index in indices)
    scans.suggest(CHOSEN, drafts=drafts)
    scans.draw({"case_03": [3]})
    return scans


def with_draft(scans, case, index):
    """The labels that a folder leads to where this slice is taken as its draft was."""
    labels = np.full(SHAPE, IGNORE)
    labels[index] = drafts_of(scans)[case][index]
    return labels


@pytest.mark.parametrize("empty_slices", ["refuse", "background"])
def test_they_are_refused(drafted, empty_slices):
    before = drafted.contents()
    with pytest.raises(UserError) as error:
        drafted.collect(empty_slices=empty_slices)
    assert f"case_00.nii.gz, slice 6: {DRAFT}" in str(error.value)
    assert f"case_03.nii.gz, slice 7: {DRAFT}" in str(error.value)
    assert "--accept-drafts" in str(error.value)
    assert drafted.contents() == before


def test_they_are_left_for_later_and_taken_once_they_are_corrected(drafted):
    report = drafted.collect(empty_slices="later")
    assert (report.slices, report.left) == ({"case_03": [3]}, ["case_00"])
    assert f"case_03.nii.gz, slice 7: {DRAFT}, left for later" in report.notes
    np.testing.assert_array_equal(drafted.taken("case_03"), expected(drafted, "case_03", [3]))
    drafted.draw(CHOSEN)
    report = drafted.collect()
    assert (report.slices, report.notes) == (CHOSEN, [])


def test_a_folder_in_which_nobody_has_worked(scans):
    scans.suggest(CHOSEN, drafts=drafts_of(scans))
    with pytest.raises(UserError, match=r"Nothing is drawn in any label file .* and no draft is corrected"):
        scans.collect(empty_slices="later")


def test_all_are_taken_if_all_are_right(drafted):
    report = drafted.collect(all_drafts_right=True)
    assert report.slices == CHOSEN
    assert "case_03.nii.gz, slice 7: the draft is taken as it was" in report.notes
    np.testing.assert_array_equal(drafted.taken("case_00"), with_draft(drafted, "case_00", 6))
    before = drafted.contents()
    report = drafted.collect()  # found to be right, they need not be named again
    assert (report.slices, report.notes) == (CHOSEN, [])
    assert drafted.contents() == before


@pytest.mark.parametrize("name", ["case_00", "case_00:6"])
def test_those_that_are_named_are_taken(drafted, name):
    report = drafted.collect(empty_slices="later", right_drafts=[name])
    assert report.slices == {"case_00": [6], "case_03": [3]}
    np.testing.assert_array_equal(drafted.taken("case_00"), with_draft(drafted, "case_00", 6))
    with pytest.raises(UserError) as error:
        drafted.collect(right_drafts=[name])
    assert f"case_03.nii.gz, slice 7: {DRAFT}" in str(error.value)
    assert "case_00" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("case_99", "--accept-drafts case_99: this is no case with a label file here"),
        ("case_00:5", "case_00.nii.gz, slice 5: named as a right draft, but this slice was not to be annotated"),
        ("case_03:3", "case_03.nii.gz, slice 3: named as a right draft, but it was changed since"),
    ],
)
def test_a_name_that_does_not_fit_is_refused(drafted, name, reason):
    with pytest.raises(UserError) as error:
        drafted.collect(empty_slices="later", right_drafts=["case_00:6", name])
    assert reason in str(error.value)


def test_a_draft_of_which_nothing_is_known_cannot_be_named(scans):
    scans.prepare(CHOSEN)
    with pytest.raises(UserError, match="slice 6: named as a right draft, but suggest has recorded no draft of it"):
        scans.collect(right_drafts=["case_00:6"])


def test_a_draft_does_not_replace_what_another_folder_has_brought(drafted):
    drafted.prepare({"case_03": [3]}, seed=1)
    drafted.collect()
    drafted.suggest(CHOSEN, drafts=drafts_of(drafted))
    drafted.draw({"case_00": [6], "case_03": [7]})
    with pytest.raises(UserError, match="slice 3: named as a right draft, but the dataset has newer labels of it"):
        drafted.collect(right_drafts=["case_03:3"])
    assert KEPT in drafted.collect(all_drafts_right=True).notes
    np.testing.assert_array_equal(drafted.taken("case_03"), expected(drafted, "case_03", [3, 7]))


def test_a_right_draft_does_not_replace_its_later_correction(drafted):
    drafted.collect(all_drafts_right=True)
    corrected = correct(drafted, "case_00", 6)
    drafted.collect(all_drafts_right=True)
    np.testing.assert_array_equal(drafted.taken("case_00"), corrected)


def test_a_work_folder_of_an_earlier_version_is_taken_as_before(scans):
    scans.prepare({"case_05": [4]})
    scans.collect()
    scans.suggest(CHOSEN, drafts=drafts_of(scans), seed=1)
    without_digests(scans)
    assert scans.collect().slices == CHOSEN


def test_an_empty_draft_is_an_empty_slice_and_may_be_right():
    labels = np.full(SHAPE, IGNORE, dtype=np.int16)
    labels[[2, 4]], labels[2, 1, 1] = 0, 1
    digests = slice_digests(labels, 0, [4])

    def check(*right, **options):
        drafts = CaseDrafts(digests, right=right)
        return check_labels(labels, 0, {0, 1, IGNORE}, IGNORE, chosen=[2, 4], drafts=drafts, **options)

    assert check().problems[0].startswith("slice 4: nothing is drawn.")
    assert check(empty_slices="later").slices == [2]
    for result in (check(4), check(named_empty=[4]), check(empty_slices="background")):
        assert (result.slices, result.problems) == ([2, 4], [])
        assert result.notes == ["slice 4: nothing is drawn, taken as background"]


def test_a_whole_scan_of_drafts_is_not_begun_before_one_is_corrected():
    """Else its empty slices would be background that nobody has looked at."""
    labels = np.zeros(SHAPE, dtype=np.int16)
    labels[3:6, 1, 1] = 1
    digests = slice_digests(labels, 0, range(SHAPE[0]))

    def check(**drafts):
        options = {"chosen": range(SHAPE[0]), "whole_scan": True, "drafts": CaseDrafts(digests, **drafts)}
        return check_labels(labels, 0, {0, 1, IGNORE}, IGNORE, **options)

    draft, empty = check().problems
    assert draft.startswith(f"slice 3 to 5: {DRAFT}.")
    assert empty.startswith("slice 0 to 2, 6 to 11: nothing is drawn.")
    for right in (check(all_right=True), check(right=[3, 4, 5])):
        assert (right.slices, right.problems) == (list(range(SHAPE[0])), [])
    assert len(check(right=[0]).problems) == 2
    labels[4, 2, 2] = 1
    (draft,) = check().problems
    assert draft.startswith(f"slice 3, 5: {DRAFT}.")


def test_the_command(drafted, capsys):
    command = ["collect", "-d", "901", "-i", str(drafted.labels)]
    assert main([*command, "--leave-empty", "--accept-drafts"]) == 1
    assert "name the drafts that are right" in capsys.readouterr().err
    assert main([*command, "--leave-empty", "--accept-drafts", "case_00", "--dry-run"]) == 0
    assert "2 slices of 2 cases can be taken" in capsys.readouterr().out
    assert main([*command, "--accept-drafts", "--dry-run"]) == 0
    assert "3 slices of 2 cases can be taken" in capsys.readouterr().out
