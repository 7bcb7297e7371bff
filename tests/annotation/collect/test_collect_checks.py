import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_pix2rep.annotation.collect.checks import check_labels, known_values
from nnunet_pix2rep.annotation.label_files import labels_to_draw_in

KNOWN, IGNORE = {0, 1, 2, 3}, 3
SHAPE = (6, 4, 5)


def labels_with(**slices):
    """All ignore but for slices such as ``s2=1``: that slice is background with a voxel of this value."""
    labels = np.full(SHAPE, IGNORE, dtype=np.int16)
    for name, value in slices.items():
        labels[int(name[1:])] = 0
        labels[int(name[1:]), 1, 2] = value
    return labels


def check(labels, **options):
    return check_labels(labels, 0, KNOWN, IGNORE, **options)


def test_values_of_labels_and_regions():
    assert known_values({"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}) == KNOWN


def test_chosen_slices_are_taken():
    labels = labels_with(s1=1, s4=2)
    result = check(labels, chosen=[1, 4])
    assert (result.slices, result.problems, result.notes) == ([1, 4], [], [])
    np.testing.assert_array_equal(result.labels, labels)


@pytest.mark.parametrize("chosen", [[1, 4], None])
def test_untouched_slices(chosen):
    labels = labels_with(s1=0, s4=1)
    (problem,) = check(labels, chosen=chosen).problems
    assert problem.startswith("slice 1: nothing is drawn")
    allowed = check(labels, chosen=chosen, empty_slices="background")
    assert allowed.problems == []
    assert allowed.notes == ["slice 1: nothing is drawn, taken as background"]
    np.testing.assert_array_equal(allowed.labels, labels)


def test_slices_without_the_structure_are_no_matter_in_a_scan_that_is_annotated_as_a_whole():
    labels = np.zeros(SHAPE, dtype=np.int16)
    labels[3, 1, 1] = 1
    assert check(labels, chosen=range(6)).problems == []
    assert check(labels * 0, chosen=range(6)).problems != []
    assert check_labels(labels, 0, {0, 1}, None).problems == []
    assert check_labels(labels * 0, 0, {0, 1}, None).problems != []


@pytest.mark.parametrize("empty_slices", ["refuse", "background"])
@pytest.mark.parametrize("ignore_label", [IGNORE, None])
def test_slices_of_a_whole_scan_that_become_background_are_named(ignore_label, empty_slices):
    labels = np.zeros(SHAPE, dtype=np.int16)
    labels[3, 1, 1] = 1
    result = check_labels(labels, 0, KNOWN, ignore_label, chosen=range(6), empty_slices=empty_slices)
    assert (result.slices, result.problems) == (list(range(6)), [])
    assert result.notes == ["slice 0 to 2, 4, 5: nothing is drawn, taken as background"]
    np.testing.assert_array_equal(result.labels, labels)


def test_the_rest_of_a_scan_may_have_slices_without_the_structure_but_not_be_untouched():
    before = labels_to_draw_in(SHAPE, 0, [2], IGNORE)
    before[2, 1, 1] = 1
    rest = [0, 1, 3, 4, 5]
    drawn = labels_to_draw_in(SHAPE, 0, rest, IGNORE, before)
    options = {"chosen": rest, "before": before, "known_before": [2]}
    assert check(drawn, **options, whole_scan=True).problems != []
    drawn[3, 1, 1] = 1
    assert check(drawn, **options, whole_scan=True).problems == []
    assert check(drawn, **options).problems != []


def test_values_that_the_dataset_does_not_have():
    (problem,) = check(labels_with(s1=7, s4=1), chosen=[1, 4]).problems
    assert problem.startswith(
        "slice 1: the value 7 is not one of the dataset's 0, 1, 2, 3. Each pixel must hold the number"
    )


def test_many_values_that_the_dataset_does_not_have_are_one_line():
    labels = labels_with(s1=1, s4=1)
    labels[1] = np.arange(10, 30).reshape(SHAPE[1:])
    (problem,) = check(labels, chosen=[1, 4]).problems
    assert problem.startswith("slice 1: the values 10, 11, 12 and 17 more are none of the dataset's 0, 1, 2, 3.")
    assert "blurred edges" in problem


@pytest.mark.parametrize("empty_slices", ["refuse", "background", "later"])
def test_drawing_over_ignore_outside_the_chosen_slices(empty_slices):
    labels = labels_with(s1=1)
    labels[2, :2, 0] = 1
    (problem,) = check(labels, chosen=[1], empty_slices=empty_slices).problems
    assert problem.startswith("slice 2: 2 pixel(s) are drawn over the ignore label")
    (problem,) = check(labels, empty_slices=empty_slices).problems
    assert problem.startswith("slice 2: 10% of it are annotated")


def test_whole_slices_that_were_not_chosen_are_taken_and_named():
    result = check(labels_with(s1=1, s2=2), chosen=[1])
    assert (result.slices, result.problems) == ([1, 2], [])
    assert result.notes == ["slice 2: annotated though not chosen; taken too"]


def test_pixels_of_a_chosen_slice_may_stay_ignore():
    labels = labels_with(s1=1)
    labels[1, 3] = IGNORE
    for chosen in ([1], None):
        result = check(labels, chosen=chosen)
        assert result.problems == []
        assert result.notes == ["slice 1: some pixels stay ignore"]


def test_an_erased_slice():
    (problem,) = check(labels_with(s1=1), chosen=[1, 4]).problems
    assert problem == "slice 4: all of it is ignore, so nothing is annotated"


def test_a_chosen_slice_that_the_image_does_not_have():
    (problem,) = check(labels_with(s1=1), chosen=[1, 6]).problems
    assert problem.startswith("slice 6: the image has only 6 slices")


def test_what_was_annotated_before_stays():
    before = labels_with(s0=1, s5=2)
    before[3, 0, 0] = 1  # a scribble
    labels = before.copy()
    labels[2] = labels_with(s2=2)[2]
    result = check(labels, chosen=[2], before=before, known_before=[0, 3, 5])
    assert (result.slices, result.problems, result.notes) == ([2], [], [])
    np.testing.assert_array_equal(result.labels, labels)
    unknown = check(labels, before=before, known_before=[0, 3, 5])
    assert (unknown.slices, unknown.problems) == ([0, 2, 5], [])
    alone = check(labels_with(s2=2), chosen=[2], before=before, known_before=[0, 3, 5])
    np.testing.assert_array_equal(alone.labels, labels)


def test_a_change_of_what_was_annotated_before_is_taken_and_named():
    before = labels_with(s0=1)
    labels = labels_with(s0=2, s2=2)
    result = check(labels, chosen=[2], before=before, known_before=[0])
    assert result.slices == [0, 2]
    assert result.notes == ["slice 0: annotated before and changed now; the new labels are taken"]
    np.testing.assert_array_equal(result.labels, labels)


@given(st.sets(st.integers(0, 5), min_size=1), st.sets(st.integers(0, 5)), st.integers(0, 2))
def test_the_result_does_not_depend_on_whether_it_was_taken_already(chosen, earlier, axis):
    rng = np.random.default_rng(0)
    earlier = earlier - chosen
    shape = np.moveaxis(np.empty(SHAPE), 0, axis).shape

    def with_slices(indices):
        labels = np.full(SHAPE, IGNORE, dtype=np.int16)
        for index in indices:
            labels[index] = rng.integers(0, 3, SHAPE[1:])
            labels[index, 0, 0] = 1
        return np.moveaxis(labels, 0, axis)

    before, new = with_slices(earlier), with_slices(chosen)
    labels = np.where(new == IGNORE, before, new)
    options = {"chosen": chosen, "known_before": earlier}
    first = check_labels(labels, axis, KNOWN, IGNORE, before=before, **options)
    again = check_labels(labels, axis, KNOWN, IGNORE, before=first.labels, **options)
    assert first.labels.shape == shape
    assert (first.problems, first.slices) == ([], sorted(chosen))
    np.testing.assert_array_equal(first.labels, labels)
    np.testing.assert_array_equal(again.labels, labels)
    assert (again.slices, again.notes) == (first.slices, first.notes)
