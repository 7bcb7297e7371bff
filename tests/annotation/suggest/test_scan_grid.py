"""Slices and voxels of raw images are found again in nnU-Net's preprocessed ones."""

import numpy as np
import pytest
from sparse_dataset import UNLABELED
from tiny_training import DATASET, PLANS

from nnunet_pix2rep.annotation.suggest.grid import ScanGrid, read_grid
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase


def make_grid(shape=(10, 20, 30), forward=(0, 1, 2), box=None, preprocessed=None):
    box = box or tuple((0, shape[axis]) for axis in forward)
    preprocessed = preprocessed or tuple(end - first for first, end in box)
    return ScanGrid(shape, (1.0, 1.0, 1.0), forward, box, preprocessed)


def test_without_cropping_and_resampling_a_slice_is_itself():
    grid = make_grid()
    assert grid.filled_slices(1) == range(20)
    along, places = grid.planes(1, 7)
    assert (along, places.tolist()) == (1, [7])


def test_axes_are_transposed_and_the_margin_is_cropped():
    grid = make_grid(forward=(2, 0, 1), box=((5, 25), (0, 10), (4, 20)))
    assert grid.filled_slices(2) == range(5, 25)
    assert grid.filled_slices(1) == range(4, 20)
    assert [part.tolist() if np.ndim(part) else part for part in grid.planes(2, 5)] == [0, [0]]
    assert [part.tolist() if np.ndim(part) else part for part in grid.planes(1, 19)] == [2, [15]]
    voxels, inside = grid.preprocessed_voxels(np.array([[3, 4, 5], [3, 4, 4]]))
    assert voxels[0].tolist() == [0, 3, 0]
    assert inside.tolist() == [True, False]


@pytest.mark.parametrize("length", [3, 7, 20, 33, 60])
def test_the_planes_of_all_slices_are_all_planes(length):
    """Each plane belongs to one slice; where there are fewer planes than slices, slices share them."""
    grid = make_grid(box=((2, 10), (0, 20), (0, 30)), preprocessed=(8, length, 30))
    found = [grid.planes(1, index)[1].tolist() for index in range(20)]
    assert all(found)
    assert {place for places in found for place in places} == set(range(length))
    flat = [place for places in found for place in places]
    assert flat == sorted(flat)
    if length >= 20:
        assert len(flat) == length


def test_a_voxel_lies_in_the_planes_of_its_slice():
    grid = make_grid(box=((2, 10), (0, 20), (3, 30)), preprocessed=(8, 47, 13))
    for index in range(20):
        voxels, _ = grid.preprocessed_voxels(np.array([[5, index, 9]]))
        assert voxels[0, 1] in grid.planes(1, index)[1]


def test_the_grid_of_an_image_is_read_from_what_nnunet_stored(sparse, tmp_path):
    folder = sparse / "nnUNet_preprocessed" / DATASET / f"{PLANS}_2d_unlabeled"
    grid = read_grid(ImageCase(UNLABELED[0], str(folder)), (0, 1, 2))
    assert grid == make_grid((12, 32, 32), box=((2, 12), (0, 32), (0, 32)))
    (tmp_path / f"{UNLABELED[0]}.b2nd").write_bytes((folder / f"{UNLABELED[0]}.b2nd").read_bytes())
    with pytest.raises(UserError, match=r"scan_00\.pkl is missing or damaged"):
        read_grid(ImageCase(UNLABELED[0], str(tmp_path)), (0, 1, 2))
