import numpy as np
import pytest

from nnunet_pix2rep.benchmark.execution.annotating.sparse_dataset import keep_slices, with_ignore_label


@pytest.mark.parametrize(
    ("labels", "ignored"),
    [
        ({"background": 0, "ring": 1, "core": 2}, 3),
        ({"background": 0, "whole": [1, 2, 4], "core": 4}, 5),
        ({"background": 0, "ring": 1, "ignore": 2}, 2),
    ],
)
def test_the_ignore_label_is_the_highest_integer_as_nnunet_wants_it(labels, ignored):
    before = {"labels": labels, "file_ending": ".nii.gz"}
    after = with_ignore_label(before)
    assert after["labels"] == {**labels, "ignore": ignored}
    assert before["labels"] is labels


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_labels_are_kept_in_the_chosen_slices_alone(axis):
    labels = np.random.default_rng(0).integers(0, 3, (4, 5, 6))
    kept = np.moveaxis(keep_slices(labels, axis, [1, 3], 7), axis, 0)
    expected = np.moveaxis(labels, axis, 0)
    for index in range(len(expected)):
        assert (kept[index] == (expected[index] if index in (1, 3) else 7)).all()
    assert labels.max() < 7
