"""Segments of 3D Slicer: their names and numbers go together as in dataset.json."""

import numpy as np
import pytest
import SimpleITK

from nnunet_pix2rep.annotation.collect.labels.segments import check_segment_names
from nnunet_pix2rep.errors import UserError

KNOWN = {"background": 0, "LV": 1, "RV": 2, "ignore": 3}
LABELS = np.random.default_rng(0).integers(0, 4, (5, 6, 7)).astype(np.uint8)


@pytest.fixture
def checked(tmp_path):
    """Checks a file that has these segments."""

    def check(segments, known=KNOWN, name="case.seg.nrrd", labels=LABELS):
        image = SimpleITK.GetImageFromArray(labels)
        for index, (segment, value) in enumerate(segments):
            image.SetMetaData(f"Segment{index}_Name", segment)
            if value is not None:
                image.SetMetaData(f"Segment{index}_LabelValue", str(value))
        SimpleITK.WriteImage(image, str(tmp_path / name))
        check_segment_names(tmp_path / name, known, labels)

    return check


@pytest.mark.parametrize("name", ["case.seg.nrrd", "case.nrrd"])
def test_numbers_of_other_names_are_refused(checked, name):
    with pytest.raises(UserError, match=r'"RV" has the number 1, and dataset.json gives RV 2; "lv " has the number 2'):
        checked([("RV", 1), ("lv ", 2), ("ignore", 3)], name=name)


def test_the_only_segment_of_an_earlier_version(checked):
    with pytest.raises(UserError, match=r'"RV" has the number 1'):
        checked([("RV", None)])


def test_names_that_fit(checked):
    checked([("RV", 2), ("LV", 1)])
    checked([("rv", 2)])
    checked([("Segment_1", 2), ("liver", 1)])  # nothing is known of these names
    checked([("RV", 1)], name="case.nii.gz")
    checked([("RV", 1)], labels=np.where(LABELS == 1, 0, LABELS))  # nothing is drawn in it
    checked([])


def test_regions_are_several_numbers(checked):
    regions = {"background": 0, "heart": [1, 2], "RV": [2], "ignore": 3}
    checked([("heart", 1)], regions)
    with pytest.raises(UserError, match=r'"heart" has the number 3, and dataset.json gives heart 1, 2'):
        checked([("heart", 3)], regions)
