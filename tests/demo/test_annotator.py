import numpy as np
from demo_folders import IGNORE, SHAPE, read_volume, write_volume, write_work_folder

from nnunet_pix2rep.demo.annotator import annotate


def test_only_chosen_slices_are_drawn(tmp_path):
    truth = np.random.default_rng(0).integers(0, IGNORE, SHAPE, dtype=np.uint8)
    write_volume(tmp_path / "truth" / "p_ED.nii.gz", truth)
    write_work_folder(tmp_path / "work", [("p", "p_ED", 2), ("p", "p_ED", 0)])
    assert annotate(tmp_path / "work", tmp_path / "truth") == 2
    drawn = read_volume(tmp_path / "work" / "labels" / "p_ED.nii.gz")
    np.testing.assert_array_equal(drawn[[0, 2]], truth[[0, 2]])
    assert (drawn[[1, 3]] == IGNORE).all()
