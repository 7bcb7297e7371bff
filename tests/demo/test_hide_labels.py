import numpy as np
import pytest
from demo_folders import DATASET, SHAPE, write_volume

from nnunet_pix2rep.demo.hide_labels import hide_labels
from nnunet_pix2rep.demo.settings import DemoFolders
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json


def names(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    cases = {f"{patient}_{phase}": patient for patient in "abcd" for phase in ("ED", "ES")}
    for case in cases:
        write_volume(folder / "imagesTr" / f"{case}_0000.nii.gz", np.zeros(SHAPE, dtype=np.float32))
        write_volume(folder / "labelsTr" / f"{case}.nii.gz", np.zeros(SHAPE, dtype=np.uint8))
    write_json({case: {"patient": patient} for case, patient in cases.items()}, folder / "patients.json")
    return folder


def test_no_patient_is_among_scans_and_test_images(raw, tmp_path):
    folders = DemoFolders(tmp_path / "demo", DATASET)
    for _ in range(2):  # again, as after an interruption
        hide_labels(raw, folders, num_test=1, seed=0)
    scans, test = names(folders.scans), names(folders.test / "images")
    assert (len(scans), len(test)) == (6, 2)
    assert not {name[0] for name in scans} & {name[0] for name in test}
    assert names(folders.truth) == scans
    assert names(folders.test / "labels") == [name.replace("_0000", "") for name in test]
    assert set(read_json(folders.test / "patients.json").values()) == {test[0][0]}


def test_the_seed_decides_who_is_tested(raw, tmp_path):
    drawn = set()
    for seed in range(6):
        folders = DemoFolders(tmp_path / str(seed), DATASET)
        hide_labels(raw, folders, num_test=1, seed=seed)
        drawn.add(names(folders.test / "images")[0])
    assert len(drawn) > 1


def test_a_dataset_without_images_is_refused(tmp_path):
    with pytest.raises(UserError, match="has no image"):
        hide_labels(tmp_path, DemoFolders(tmp_path / "demo", DATASET), num_test=1, seed=0)
