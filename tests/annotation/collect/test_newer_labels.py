"""Labels of the dataset that are newer than those of a work folder, which ``collect`` must not put back."""

import numpy as np
import pytest
from tiny_training import SHAPE
from work_folders import CHOSEN, IGNORE, KEPT, REPLACED, correct, expected, without_digests

from nnunet_pix2rep.annotation.collect.checks import check_labels
from nnunet_pix2rep.annotation.collect.labels.drawings import unite
from nnunet_pix2rep.annotation.slices import slice_digests
from nnunet_pix2rep.files import read_json

SECOND_ROUND = {"case_03": [9]}


@pytest.fixture
def second_round(scans):
    """A work folder of a second round, which has copies of slices 3 and 7, with its own slice drawn."""
    scans.prepare(CHOSEN)
    scans.collect()
    scans.prepare(SECOND_ROUND, before=CHOSEN, seed=1)
    return scans


@pytest.fixture
def half_done(scans):
    """A work folder of which slice 3 was collected, and slice 7 was drawn after that."""
    scans.suggest(CHOSEN)
    scans.draw({"case_03": [3]})
    scans.collect(empty_slices="later")
    scans.draw({"case_03": [7]})
    return scans


def test_the_copy_of_a_slice_does_not_replace_its_correction(second_round):
    corrected = correct(second_round, "case_03", 3)
    corrected[9] = second_round.truth("case_03")[9]
    report = second_round.collect()
    assert report.notes == [KEPT]
    assert report.slices == SECOND_ROUND
    np.testing.assert_array_equal(second_round.taken("case_03"), corrected)


def test_the_other_half_of_a_folder_does_not_bring_back_what_was_corrected(half_done):
    corrected = correct(half_done, "case_03", 3)
    corrected[7] = half_done.truth("case_03")[7]
    report = half_done.collect(empty_slices="later")
    assert KEPT in report.notes
    assert report.slices == {"case_03": [3, 7]}
    np.testing.assert_array_equal(half_done.taken("case_03"), corrected)


def test_a_blank_slice_does_not_replace_what_another_folder_has_brought(scans):
    scans.prepare({"case_03": [3]})
    scans.collect()
    scans.suggest(CHOSEN, seed=1)  # as if both folders had been made before the first was collected
    scans.draw({"case_00": [6], "case_03": [7]})
    report = scans.collect(empty_slices="background")
    assert KEPT in report.notes
    np.testing.assert_array_equal(scans.taken("case_03"), expected(scans, "case_03", [3, 7]))


@pytest.mark.parametrize("folder", ["second_round", "half_done"])
def test_it_is_kept_however_often_the_folder_is_collected(folder, request):
    scans = request.getfixturevalue(folder)
    correct(scans, "case_03", 3)
    scans.collect(empty_slices="later")
    before = scans.contents()
    assert KEPT in scans.collect(empty_slices="later").notes
    assert scans.contents() == before


@pytest.mark.parametrize("folder", ["second_round", "half_done"])
def test_what_is_changed_in_the_folder_is_taken(folder, request):
    scans = request.getfixturevalue(folder)
    correct(scans, "case_03", 3)
    labels = scans.drawn("case_03")
    labels[3, 5:8] = 1
    scans.write("case_03", labels)
    report = scans.collect(empty_slices="later")
    assert KEPT not in report.notes
    assert REPLACED in report.notes
    np.testing.assert_array_equal(scans.taken("case_03")[3], labels[3])


def test_a_change_that_was_collected_does_not_replace_a_later_correction(second_round):
    """After a collect, what the file was like then counts, also where a collect between has found nothing new."""
    labels = second_round.drawn("case_03")
    labels[3, 5:8] = 1
    second_round.write("case_03", labels)
    second_round.collect()
    second_round.collect()
    corrected = correct(second_round, "case_03", 3)
    assert second_round.collect().notes == [KEPT]
    np.testing.assert_array_equal(second_round.taken("case_03"), corrected)


@pytest.mark.parametrize("folder", ["second_round", "half_done"])
def test_folders_and_records_of_earlier_versions_work_as_before(folder, request):
    scans = request.getfixturevalue(folder)
    without_digests(scans)
    rounds = len(read_json(scans.raw / "annotations.json")["rounds"])
    correct(scans, "case_03", 3)
    report = scans.collect(empty_slices="later")
    assert KEPT not in report.notes
    slices = [3, 7, 9] if folder == "second_round" else [3, 7]
    np.testing.assert_array_equal(scans.taken("case_03"), expected(scans, "case_03", slices))
    # a second round is recorded beside the first, the other half of a folder in the same place
    assert len(read_json(scans.raw / "annotations.json")["rounds"]) == rounds + (folder == "second_round")


@pytest.mark.parametrize("empty_slices", ["refuse", "background", "later"])
@pytest.mark.parametrize("value", [0, 2], ids=["erased", "drawn anew"])
def test_a_correction_counts_as_done_whatever_it_shows(value, empty_slices):
    labels = np.full(SHAPE, IGNORE, dtype=np.int16)
    labels[[3, 7]] = 0
    labels[[3, 7], 1, 1] = 1
    before = labels.copy()
    before[7], before[3, 1, 1] = IGNORE, value
    digests = slice_digests(labels, 0, [3, 7])
    earlier = {index: {digest} for index, digest in digests.items()}
    options = {"chosen": [3, 7], "before": before, "earlier": earlier, "empty_slices": empty_slices}
    result = check_labels(labels, 0, {0, 1, 2, IGNORE}, IGNORE, **options)
    assert (result.problems, result.slices) == ([], [3, 7])
    assert len(result.notes) == 1
    assert result.drawings == unite(slice_digests(before, 0, [3]), slice_digests(labels, 0, [7]))
    np.testing.assert_array_equal(result.labels[3], before[3])
    np.testing.assert_array_equal(result.labels[7], labels[7])  # the dataset has nothing there that could be newer
