import numpy as np
import pytest
from raw_folders import contents, names, patients_of

from nnunet_pix2rep.dataset_conversion.Dataset504_Hippocampus import convert_hippocampus
from nnunet_pix2rep.errors import UserError


@pytest.fixture
def source(tmp_path, write_volume):
    source = tmp_path / "Hippocampus – Kopie"
    for seed, case in enumerate(("hippocampus_001", "hippocampus_003")):
        random = np.random.default_rng(seed)
        write_volume(source / "imagesTr" / f"{case}_0000.nii.gz", random.random((6, 7, 8), np.float32), (1, 1, 1))
        write_volume(source / "labelsTr" / f"{case}.nii.gz", random.integers(0, 3, (6, 7, 8), np.uint8), (1, 1, 1))
    (source / "imagesTr" / "._hippocampus_001_0000.nii.gz").write_bytes(b"of a Mac")
    return source


def test_files_are_copied_as_they_are(source, tmp_path, verify):
    folder = convert_hippocampus(source, 504, tmp_path / "raw")
    assert names(folder / "imagesTr") == {"hippocampus_001", "hippocampus_003"}
    for name, content in contents(source).items():
        if "._" not in name:
            assert (folder / name).read_bytes() == content
    assert patients_of(folder)["hippocampus_003"] == {"patient": "hippocampus_003", "group": None}
    verify(folder)


def test_again_gives_the_same_files(source, tmp_path):
    before = contents(convert_hippocampus(source, 504, tmp_path / "raw"))
    assert contents(convert_hippocampus(source, 504, tmp_path / "raw")) == before


def no_label(source, write_volume):
    (source / "labelsTr" / "hippocampus_003.nii.gz").unlink()


def no_image(source, write_volume):
    (source / "imagesTr" / "hippocampus_003_0000.nii.gz").unlink()


def other_size(source, write_volume):
    write_volume(source / "labelsTr" / "hippocampus_003.nii.gz", np.zeros((6, 7, 9), np.uint8))


def other_spacing(source, write_volume):
    write_volume(source / "labelsTr" / "hippocampus_003.nii.gz", np.zeros((6, 7, 8), np.uint8), (1, 1, 2))


def other_name(source, write_volume):
    (source / "imagesTr" / "notes.txt").write_text("")


def damaged(source, write_volume):
    (source / "labelsTr" / "hippocampus_003.nii.gz").write_bytes(b"half")


def truncated(source, write_volume):
    path = source / "imagesTr" / "hippocampus_003_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:-30])


def other_labels(source, write_volume):
    write_volume(source / "labelsTr" / "hippocampus_003.nii.gz", np.full((6, 7, 8), 7, np.uint8), (1, 1, 1))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_label, r"hippocampus_003_0000\.nii\.gz has no label"),
        (no_image, r"labelsTr/hippocampus_003\.nii\.gz has no image"),
        (other_spacing, r"hippocampus_003\.nii\.gz lies up to \d\.00 mm beside its image"),
        (other_size, r"hippocampus_003\.nii\.gz has \(9, 7, 6\) voxels, but"),
        (other_name, r"notes\.txt does not match"),
        (damaged, r"labelsTr/hippocampus_003\.nii\.gz cannot be read"),
        (truncated, r"hippocampus_003_0000\.nii\.gz: it is truncated or damaged"),
        (other_labels, r"hippocampus_003\.nii\.gz has the label 7, but only \[0, 1, 2\]"),
    ],
)
def test_bad_source_names_the_file_and_writes_nothing(source, tmp_path, write_volume, damage, message):
    damage(source, write_volume)
    with pytest.raises(UserError, match=message):
        convert_hippocampus(source, 504, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_real_data(real_data, tmp_path):
    folder = convert_hippocampus(real_data / "hippocampus", 504, tmp_path)
    assert len(patients_of(folder)) == len(names(folder / "imagesTr")) == len(names(folder / "labelsTr")) == 60
