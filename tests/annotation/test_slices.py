import numpy as np
import pytest

from nnunet_pix2rep.annotation.slices import Slice, relative_positions, slice_axis, slice_digests
from nnunet_pix2rep.errors import UserError


def test_in_2d_the_plans_say_which_axis():
    assert slice_axis([64, 64], [0, 1, 2], (1.0, 5.0, 1.0)) == 0
    assert slice_axis([64, 64], [2, 0, 1], (5.0, 1.0, 1.0)) == 2
    assert slice_axis([64, 64], [1, 0, 2], (5.0, 1.0, 1.0), wanted=1) == 1
    with pytest.raises(UserError, match=r"--axis x .* is y"):
        slice_axis([64, 64], [1, 0, 2], (5.0, 1.0, 1.0), wanted=2)


def test_in_3d_it_is_the_axis_of_the_largest_spacing_of_several_the_first():
    assert slice_axis([8, 64, 64], [0, 1, 2], (1.0, 5.0, 1.0)) == 1
    assert slice_axis([8, 64, 64], [1, 0, 2], (1.0, 1.0, 1.0)) == 0
    assert slice_axis([8, 64, 64], [0, 1, 2], (1.0, 5.0, 1.0), wanted=2) == 2


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_digest_changes_with_any_voxel_of_its_slice_and_with_nothing_else(axis):
    labels = np.zeros((4, 5, 6), dtype=np.int64)
    digests = slice_digests(labels, axis, [1, 3])
    assert set(digests) == {"1", "3"}
    assert slice_digests(labels.astype(np.int16), axis, [1, 3]) == digests
    np.moveaxis(labels, axis, 0)[1, 2, 3] = 1
    changed = slice_digests(labels, axis, [1, 3])
    assert changed["1"] != digests["1"]
    assert changed["3"] == digests["3"]


def test_positions_are_the_middles_of_slices():
    slices = [Slice("scan", index) for index in range(4)]
    assert relative_positions(["a"] * 4, slices, [4] * 4) == [0.125, 0.375, 0.625, 0.875]


def test_images_of_a_single_slice_have_their_place_among_those_of_their_patient():
    cases = ["p1_10", "p1_2", "p2_1", "p1_scan", "p1_scan", "p1_9"]
    indices, counts = [0, 0, 0, 0, 1, 0], [1, 1, 1, 2, 2, 1]
    slices = [Slice(case, index) for case, index in zip(cases, indices, strict=True)]
    positions = relative_positions([case[:2] for case in cases], slices, counts)
    assert positions == pytest.approx([5 / 6, 1 / 6, 1 / 2, 1 / 4, 3 / 4, 1 / 2])
