"""Support of a segmentation in context: sparse labels keep every slice, and change nothing of the image."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from tiny_training import ORDINARY_LABELS, PLANS, SHAPE

from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.features.prepared_images import prepare_image

IGNORE = 3


@pytest.fixture
def model(tiny_dataset):
    """What a checkpoint says of its preprocessing: twice the spacing across the slices, normalized within a mask."""
    plans = deepcopy(read_json(tiny_dataset / f"{PLANS}.json"))
    spacing = plans["configurations"]["3d_fullres"]["spacing"]
    plans["configurations"]["3d_fullres"] |= {"spacing": [2 * spacing[0], *spacing[1:]], "use_mask_for_norm": [True]}
    dataset_json = read_json(tiny_dataset / "dataset.json") | {"labels": dict(ORDINARY_LABELS) | {"ignore": IGNORE}}
    manager = PlansManager(plans)
    return SimpleNamespace(
        plans_manager=manager,
        configuration=manager.get_configuration("3d_fullres"),
        dataset_json=dataset_json,
        label_manager=manager.get_label_manager(dataset_json),
        num_input_channels=1,
    )


@pytest.mark.parametrize("index", range(3, 9))
def test_a_single_annotated_slice_is_support_wherever_it_lies(model, tiny_dataset, tmp_path, index):
    raw = tiny_dataset.parents[1] / "nnUNet_raw" / tiny_dataset.name
    image = SimpleITK.ReadImage(str(raw / "imagesTr" / "case_02_0000.nii.gz"))
    values = SimpleITK.GetArrayFromImage(image) + 5
    values[:, :6] = 0  # outside the body, and ignored in most slices
    labels = np.full(SHAPE, IGNORE, dtype=np.uint8)
    labels[index] = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(raw / "labelsTr" / "case_02.nii.gz")))[index]
    files = tmp_path / "image_0000.nii.gz", tmp_path / "label.nii.gz"
    for array, file in zip((values, labels), files, strict=True):
        volume = SimpleITK.GetImageFromArray(array)
        volume.CopyInformation(image)
        SimpleITK.WriteImage(volume, str(file))
    support = prepare_image(model, "case", files[:1], files[1])
    query = prepare_image(model, "case", files[:1])
    np.testing.assert_array_equal(support.data, query.data)
    assert support.labels is not None
    assert set(np.unique(support.labels[support.labels >= 0])) == set(np.unique(labels[index]))
