from dataclasses import replace

import pytest

from nnunet_pix2rep.annotation.slices import Slice
from nnunet_pix2rep.annotation.work_folder import (
    LATER_FIELDS,
    SUGGESTION,
    SuggestedSlice,
    Suggestion,
    read_suggestion,
    write_suggestion,
)
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json


@pytest.fixture
def suggestion():
    return Suggestion(
        dataset="Dataset001_Hearts",
        plans="nnUNetPlans",
        configuration="2d",
        checkpoint={"file": "checkpoint_final.pth", "seed": 3},
        features={"kind": "projected", "pixels_per_slice": 64},
        selector="coverage",
        seed=0,
        budget=3,
        unit="slices",
        axes={"a": 0, "b": 0, "c": 1},
        slices=(
            SuggestedSlice(1, "b", "B", 5, 0.5),
            SuggestedSlice(2, "a", "A", 2, 0.7),
            SuggestedSlice(3, "b", "B", 1, None),
        ),
        pool={"patients": 3, "cases": 3, "slices": 30},
        patients_left_out={"D": "in imagesTs"},
        annotated_before=(Slice("c", 4),),
        like=None,
        package_version="0.1.0",
        copied_slices={"a": {"0": "digest of slice 0"}},
        image_checksums={"a_0000.nii.gz": "checksum of a", "b_0000.nii.gz": "checksum of b"},
        labels={"background": 0, "heart": [1, 2], "LV": 2, "ignore": 3},
        drafts={"a": {"2": "digest of the draft of slice 2"}},
    )


def test_a_suggestion_is_read_as_it_was_written(suggestion, tmp_path):
    write_suggestion(suggestion, tmp_path)
    assert read_suggestion(tmp_path) == suggestion
    with_click = replace(suggestion, like={"case": "a", "point": [1, 2, 3]}, features=None, checkpoint=None)
    write_suggestion(with_click, tmp_path)
    assert read_suggestion(tmp_path) == with_click


@pytest.mark.parametrize("first_missing", range(len(LATER_FIELDS)))
def test_a_suggestion_of_an_earlier_version_is_read_and_recorded_as_it_is(suggestion, tmp_path, first_missing):
    """Each version has brought a field of its own."""
    write_suggestion(suggestion, tmp_path)
    earlier = read_json(tmp_path / SUGGESTION)
    missing = LATER_FIELDS[first_missing:]
    for name in missing:
        del earlier[name]
    write_json(earlier, tmp_path / SUGGESTION)
    read = read_suggestion(tmp_path)
    assert read == replace(suggestion, **{name: {} for name in missing})
    assert {"format_version": 1} | read.as_json() == earlier


def test_chosen_slices_by_case(suggestion):
    assert suggestion.chosen() == {"a": [2], "b": [1, 5]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "this version"),
        ({"slices": [{"rank": 1}]}, "malformed"),
        ({"foreign": 1}, "foreign"),
    ],
)
def test_a_malformed_suggestion_is_refused(suggestion, tmp_path, change, message):
    write_suggestion(suggestion, tmp_path)
    write_json(read_json(tmp_path / SUGGESTION) | change, tmp_path / SUGGESTION)
    with pytest.raises(UserError, match=message):
        read_suggestion(tmp_path)


def test_another_folder_is_told_from_a_work_folder(tmp_path):
    with pytest.raises(UserError, match="nnunet_pix2rep suggest"):
        read_suggestion(tmp_path)
