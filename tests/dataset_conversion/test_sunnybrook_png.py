import numpy as np
import pytest
import SimpleITK
from raw_folders import contents, names, patients_of, read

from nnunet_pix2rep.dataset_conversion.Dataset501_Sunnybrook import convert_sunnybrook
from nnunet_pix2rep.errors import UserError

PART = "Sunnybrook_Part1"


def write_slice(source, name, gray, mask_width, part=PART, size=256):
    """One image of a constant gray value with a mask of 10 x mask_width pixels."""
    mask = np.zeros((size, size), np.uint8)
    mask[20:30, 40 : 40 + mask_width] = 255
    for kind, pixels in (("Images", np.full((size, size), gray, np.uint8)), ("Labels", mask)):
        path = source / kind / part / f"{name}.dcm.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        rgb = SimpleITK.GetImageFromArray(np.stack([pixels] * 3, axis=-1), isVector=True)
        SimpleITK.WriteImage(rgb, str(path))


def path_of(source, name, kind="Images", part=PART):
    return source / kind / part / f"{name}.dcm.png"


@pytest.fixture
def source(tmp_path):
    """Two patients: phase 0 (image 20 of a position) and phase 8 at positions 1 to 3; the second lacks one ES slice."""
    source = tmp_path / "Sunnybrook, größer"
    for position in (1, 2, 3):
        write_slice(source, f"SC-HF-I-01-IM-0001-{20 * position + 20:04d}", 100 + position, 20)
        write_slice(source, f"SC-HF-I-01-IM-0001-{20 * position + 8:04d}", 50 + position, 10)
        write_slice(source, f"SC-N-40-IM-0001-{20 * position + 19:04d}", 150 + position, 30, part="Sunnybrook_Part2")
    for position in (1, 2):
        write_slice(source, f"SC-N-40-IM-0001-{20 * position + 7:04d}", 10 + position, 5, part="Sunnybrook_Part2")
    return source


def test_two_volumes_per_patient(source, tmp_path, verify):
    folder = convert_sunnybrook(source, 501, tmp_path / "raw")
    assert names(folder / "imagesTr") == {"SC-HF-I-01_ED", "SC-HF-I-01_ES", "SC-N-40_ED", "SC-N-40_ES"}
    assert names(folder / "imagesTr") == names(folder / "labelsTr")
    assert patients_of(folder)["SC-HF-I-01_ES"] == {"patient": "SC-HF-I-01", "group": "SC-HF-I"}
    assert patients_of(folder)["SC-N-40_ED"] == {"patient": "SC-N-40", "group": "SC-N"}
    verify(folder)


def test_slices_lie_in_order_with_the_right_spacing(source, tmp_path):
    folder = convert_sunnybrook(source, 501, tmp_path / "raw")
    voxels, image = read(folder / "imagesTr" / "SC-HF-I-01_ED_0000.nii.gz")
    assert voxels.shape == (3, 256, 256)
    assert voxels[:, 0, 0].tolist() == [101, 102, 103]
    assert image.GetSpacing() == (1.25, 1.25, 8.0)
    voxels, _ = read(folder / "imagesTr" / "SC-N-40_ES_0000.nii.gz")
    assert voxels[:, 0, 0].tolist() == [11, 12]


def test_mask_keeps_rows_and_columns(source, tmp_path):
    folder = convert_sunnybrook(source, 501, tmp_path / "raw")
    voxels, _ = read(folder / "labelsTr" / "SC-HF-I-01_ED.nii.gz")
    expected = np.zeros((3, 256, 256))
    expected[:, 20:30, 40:60] = 1
    np.testing.assert_array_equal(voxels, expected)


def test_end_diastole_is_the_larger_cavity_where_both_phases_are_labeled(tmp_path):
    source = tmp_path / "source"
    for position in range(5):  # many small slices: a larger sum, but smaller where both are labeled
        write_slice(source, f"SC-HYP-01-IM-0001-{20 * position + 1:04d}", 1, 10)
    write_slice(source, "SC-HYP-01-IM-0001-0048", 2, 15)
    folder = convert_sunnybrook(source, 501, tmp_path / "raw")
    assert read(folder / "imagesTr" / "SC-HYP-01_ED_0000.nii.gz")[0].max() == 2


def test_last_phase_of_a_position_does_not_count_to_the_next(tmp_path):
    source = tmp_path / "source"
    for number, width in ((40, 9), (60, 30), (28, 10)):  # 40 and 28 lie at position 1, 60 at position 2
        write_slice(source, f"SC-N-05-IM-0001-{number:04d}", number, width)
    folder = convert_sunnybrook(source, 501, tmp_path / "raw")
    assert read(folder / "imagesTr" / "SC-N-05_ED_0000.nii.gz")[0].max() == 28


def test_again_gives_the_same_files(source, tmp_path):
    before = contents(convert_sunnybrook(source, 501, tmp_path / "raw"))
    assert contents(convert_sunnybrook(source, 501, tmp_path / "raw")) == before


def test_files_beside_the_part_folders_are_taken(source, tmp_path):
    before = contents(convert_sunnybrook(source, 501, tmp_path / "raw"))
    for kind in ("Images", "Labels"):
        for path in sorted((source / kind).glob("*/*"))[:4]:
            path.rename(source / kind / path.name)
    assert contents(convert_sunnybrook(source, 501, tmp_path / "other")) == before


def test_hidden_files_are_ignored(source, tmp_path):
    (source / "Images" / PART / "._SC-HF-I-01-IM-0001-0040.dcm.png").write_bytes(b"")
    convert_sunnybrook(source, 501, tmp_path / "raw", dry_run=True)


def remove_mask(source):
    path_of(source, "SC-HF-I-01-IM-0001-0060", "Labels").unlink()


def remove_image(source):
    path_of(source, "SC-HF-I-01-IM-0001-0060").unlink()


def remove_slice(source):
    remove_mask(source)
    remove_image(source)


def remove_phase(source):
    for number in (28, 48, 68):
        for kind in ("Images", "Labels"):
            path_of(source, f"SC-HF-I-01-IM-0001-{number:04d}", kind).unlink()


def third_phase(source):
    write_slice(source, "SC-HF-I-01-IM-0001-0045", 1, 3)


def same_areas(source):
    for number in (28, 48, 68):
        write_slice(source, f"SC-HF-I-01-IM-0001-{number:04d}", 1, 20)


def rename(source):
    path = path_of(source, "SC-HF-I-01-IM-0001-0060")
    path.rename(path.with_name("SC-HF-I-01-0060.png"))


def second_copy(source):
    write_slice(source, "SC-HF-I-01-IM-0001-0060", 1, 20, part="Sunnybrook_Part2")


def same_slice_twice(source):
    write_slice(source, "SC-HF-I-01-IM-0001-0060", 1, 20)
    for kind in ("Images", "Labels"):
        path = path_of(source, "SC-HF-I-01-IM-0001-0060", kind)
        path.with_name("SC-HF-I-01-IM-0002-0060.dcm.png").write_bytes(path.read_bytes())


def small_image(source):
    write_slice(source, "SC-HF-I-01-IM-0001-0060", 1, 20, size=128)


def gray_mask(source):
    path_of(source, "SC-HF-I-01-IM-0001-0060", "Labels").write_bytes(
        path_of(source, "SC-HF-I-01-IM-0001-0060").read_bytes()
    )


def damaged_mask(source):
    path_of(source, "SC-HF-I-01-IM-0001-0060", "Labels").write_bytes(b"not a PNG")


def no_labels(source):
    (source / "Labels").rename(source / "labels of mine")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_mask, r"0060\.dcm\.png has no mask in Labels/"),
        (remove_image, r"0060\.dcm\.png has no image in Images/"),
        (remove_slice, r"slice after .*0040\.dcm\.png is missing: .* 0060"),
        (remove_phase, r"SC-HF-I-01 has 1 labeled phase\(s\) instead of two"),
        (third_phase, r"SC-HF-I-01 has 3 labeled phase\(s\) instead of two"),
        (same_areas, "SC-HF-I-01: both phases have the same area"),
        (rename, r"SC-HF-I-01-0060\.png does not match"),
        (second_copy, r"Part2.*0060\.dcm\.png exists a second time"),
        (same_slice_twice, "0002-0060.* show the same slice and phase"),
        (small_image, r"0060\.dcm\.png must be a gray 8-bit image of 256 x 256"),
        (gray_mask, r"0060\.dcm\.png is not a mask"),
        (damaged_mask, r"0060\.dcm\.png cannot be read"),
        (no_labels, "Labels is not a folder"),
    ],
)
def test_bad_source_names_the_file_and_writes_nothing(source, tmp_path, damage, message):
    damage(source)
    with pytest.raises(UserError, match=message):
        convert_sunnybrook(source, 501, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_damaged_image_leaves_no_dataset_json(source, tmp_path):
    path_of(source, "SC-HF-I-01-IM-0001-0060").write_bytes(b"not a PNG")
    with pytest.raises(UserError, match=r"0060\.dcm\.png cannot be read"):
        convert_sunnybrook(source, 501, tmp_path / "raw")
    assert not (tmp_path / "raw" / "Dataset501_Sunnybrook" / "dataset.json").exists()


def test_empty_and_ambiguous_folders(source, tmp_path):
    with pytest.raises(UserError, match="neither SCD_ManualContours"):
        convert_sunnybrook(tmp_path / "nothing", 501, tmp_path / "raw")
    (source / "SCD_ManualContours").mkdir()
    with pytest.raises(UserError, match="both SCD_ManualContours"):
        convert_sunnybrook(source, 501, tmp_path / "raw")


@pytest.mark.slow
def test_real_export(real_data, tmp_path, verify):
    folder = convert_sunnybrook(real_data / "sunnybrook", 501, tmp_path)
    patients = patients_of(folder)
    assert len(patients) == 60
    assert len({entry["patient"] for entry in patients.values()}) == 30
    assert {entry["group"] for entry in patients.values()} == {"SC-HF-I", "SC-HF-NI", "SC-HYP", "SC-N"}
    slices = 0
    for case in patients:
        voxels, image = read(folder / "labelsTr" / f"{case}.nii.gz")
        assert image.GetSpacing() == (1.25, 1.25, 8.0)
        assert (voxels.reshape(len(voxels), -1).max(axis=1) == 1).all(), case
        slices += len(voxels)
    assert slices == 526
    verify(folder)
