import shutil

import numpy as np
import pytest
from raw_folders import contents, names, patients_of, read
from sunnybrook_original import (
    COLUMN_AXIS,
    COLUMNS,
    EXPERT,
    NORMAL,
    PHASES,
    PIXEL_MM,
    ROW_AXIS,
    ROWS,
    STEP_MM,
    write_cine,
    write_contour,
    write_dicom,
)

from nnunet_pix2rep.dataset_conversion.Dataset501_Sunnybrook import convert_sunnybrook
from nnunet_pix2rep.dataset_conversion.sunnybrook_contours import longest_run, rasterize
from nnunet_pix2rep.errors import UserError


@pytest.fixture
def source(tmp_path):
    """Two patients; ED is image 1 of a position at positions 0 to 3, ES image 3 at positions 1 to 3."""
    source = tmp_path / "Sunnybrook (Süden)"
    write_cine(source / "SCD_IMAGES_01" / "SCD0000101" / "CINESAX_300", 3)
    write_cine(source / "SCD_IMAGES_01" / "SCD0000101" / "CINELAX_301", 4, description="CINELAX")
    write_cine(source / "SCD_IMAGES_05" / "SCD0004501" / "CINESAX_4", 2, downwards=True)
    for patient in ("SC-HF-I-01", "SC-N-40"):
        folder = source / "SCD_ManualContours" / patient / EXPERT
        for position in range(4):
            write_contour(folder, position * PHASES + 1, 6)
        for position in range(1, 4):
            write_contour(folder, position * PHASES + 3, 3)
    (source / "SCD_ManualContours" / "README.txt").write_text("cite us")
    (source / "scd_patientdata.csv").write_text(
        "PatientID,OriginalID,Gender,Age,Pathology\n"
        "SCD0000101,SC-HF-I-1,Male,53,Heart failure with infarct\n"
        "SCD0004501,SC-N-40,Female,88,Normal\n",
        encoding="utf-8-sig",
    )
    return source


def contour(source, number, patient="SC-HF-I-01"):
    return source / "SCD_ManualContours" / patient / EXPERT / f"IM-0001-{number:04d}-icontour-manual.txt"


def test_labeled_phases_for_training_and_the_others_unlabeled(source, tmp_path, verify):
    folder = convert_sunnybrook(source, 501, tmp_path / "raw")
    training = {"SC-HF-I-01_ED", "SC-HF-I-01_ES", "SC-N-40_ED", "SC-N-40_ES"}
    unlabeled = {f"{patient}_phase{phase:02d}" for patient in ("SC-HF-I-01", "SC-N-40") for phase in (2, 4)}
    assert names(folder / "imagesTr") == names(folder / "labelsTr") == training
    assert names(folder / "imagesUn") == unlabeled
    patients = patients_of(folder)
    assert patients.keys() == training | unlabeled
    assert patients["SC-HF-I-01_phase02"] == {"patient": "SC-HF-I-01", "group": "SC-HF-I"}
    assert patients["SC-N-40_ED"] == {"patient": "SC-N-40", "group": "SC-N"}
    verify(folder)


@pytest.mark.parametrize(
    ("file", "numbers"),
    [
        ("imagesTr/SC-HF-I-01_ED", [1, 5, 9, 13]),
        ("imagesTr/SC-HF-I-01_ES", [7, 11, 15]),
        ("imagesUn/SC-HF-I-01_phase02", [2, 6, 10, 14, 18]),
        ("imagesTr/SC-N-40_ED", [13, 9, 5, 1]),
        ("imagesUn/SC-N-40_phase04", [20, 16, 12, 8, 4]),
    ],
)
def test_stacks_follow_the_positions_in_the_headers(source, tmp_path, file, numbers):
    folder = convert_sunnybrook(source, 501, tmp_path / "raw")
    voxels, image = read(folder / f"{file}_0000.nii.gz")
    assert voxels.shape == (len(numbers), ROWS, COLUMNS)
    assert voxels[:, 0, 0].tolist() == [10 * number for number in numbers]
    assert voxels[:, 0, 1].tolist() == [10 * number + 1 for number in numbers]
    np.testing.assert_allclose(image.GetSpacing(), (*PIXEL_MM, STEP_MM), rtol=1e-5)
    np.testing.assert_allclose(
        np.reshape(image.GetDirection(), (3, 3)), np.stack([ROW_AXIS, COLUMN_AXIS, NORMAL], axis=1), atol=1e-6
    )


def test_origin_is_that_of_the_lowest_labeled_slice(source, tmp_path):
    folder = convert_sunnybrook(source, 501, tmp_path / "raw")
    _, image = read(folder / "imagesTr" / "SC-HF-I-01_ES_0000.nii.gz")
    np.testing.assert_allclose(image.GetOrigin(), np.array([-10, 20, 30]) + (STEP_MM + 0.002) * NORMAL, atol=1e-3)


@pytest.mark.parametrize(("case", "slices", "width"), [("SC-HF-I-01_ED", 4, 6), ("SC-HF-I-01_ES", 3, 3)])
def test_masks_fill_the_inner_contour(source, tmp_path, case, slices, width):
    folder = convert_sunnybrook(source, 501, tmp_path / "raw")
    voxels, label = read(folder / "labelsTr" / f"{case}.nii.gz")
    expected = np.zeros((slices, ROWS, COLUMNS))
    expected[:, 2:7, 3 : 3 + width] = 1
    np.testing.assert_array_equal(voxels, expected)
    _, image = read(folder / "imagesTr" / f"{case}_0000.nii.gz")
    np.testing.assert_allclose(label.GetOrigin(), image.GetOrigin())


def test_area_of_a_filled_circle(tmp_path):
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    path = tmp_path / "contour.txt"
    np.savetxt(path, np.stack([60 + 25 * np.cos(angles), 40 + 15 * np.sin(angles)], axis=1), fmt="%.2f")
    mask = rasterize(path, (90, 120))
    assert mask.sum() == pytest.approx(np.pi * 25 * 15, rel=0.02)
    rows, columns = np.nonzero(mask)
    assert (rows.mean(), columns.mean()) == pytest.approx((40, 60), abs=0.2)


def test_series_is_also_found_by_its_dicom_description(source, tmp_path):
    folder = source / "SCD_IMAGES_01" / "SCD0000101"
    (folder / "CINESAX_300").rename(folder / "series7")
    assert "SC-HF-I-01_ED" in names(convert_sunnybrook(source, 501, tmp_path / "raw") / "imagesTr")


def test_images_unpacked_beside_the_table(source, tmp_path):
    (source / "SCD_IMAGES_01" / "SCD0000101").rename(source / "SCD0000101")
    assert "SC-HF-I-01_ED" in names(convert_sunnybrook(source, 501, tmp_path / "raw") / "imagesTr")


def test_slice_left_out_by_the_expert_ends_the_stack(source, tmp_path, capsys):
    contour(source, 5).unlink()
    folder = convert_sunnybrook(source, 501, tmp_path / "raw")
    voxels, image = read(folder / "imagesTr" / "SC-HF-I-01_ED_0000.nii.gz")
    assert voxels[:, 0, 0].tolist() == [90, 130]
    assert image.GetSpacing()[2] == pytest.approx(STEP_MM)
    assert "the ED contours leave a slice out; used the 2 adjacent ones of 3" in capsys.readouterr().out


def test_stray_contour_of_a_third_phase_is_reported(source, tmp_path, capsys):
    write_contour(contour(source, 1).parent, 10, 20 // 3)
    folder = convert_sunnybrook(source, 501, tmp_path / "raw")
    assert "not used: IM-0001-0010-icontour-manual.txt" in capsys.readouterr().out
    assert "SC-HF-I-01_phase02" in names(folder / "imagesUn")


def test_patients_without_images_are_reported(source, tmp_path, capsys):
    (source / "SCD_IMAGES_05").rename(tmp_path / "not downloaded")
    folder = convert_sunnybrook(source, 501, tmp_path / "raw")
    assert names(folder / "imagesTr") == {"SC-HF-I-01_ED", "SC-HF-I-01_ES"}
    assert "SC-N-40 has no images SCD_IMAGES_*/SCD0004501: skipped" in capsys.readouterr().out


def images(source):
    return source / "SCD_IMAGES_01" / "SCD0000101" / "CINESAX_300"


def remove_images(source, *numbers):
    for number in numbers:
        (images(source) / f"IM-0003-{number:04d}.dcm").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: remove_images(s, 7), "CINESAX_300 has no image IM-.*-0007.dcm, but there is a contour"),
        (lambda s: remove_images(s, 6), r"position of IM-0003-0005\.dcm has 3 phases"),
        (lambda s: shutil.rmtree(images(s)), r"SCD0000101 holds no short-axis cine CINESAX_\*"),
        (
            lambda s: write_cine(images(s).with_name("CINESAX_999"), 9),
            "several short-axis cines .*CINESAX_300, CINESAX_999",
        ),
        (
            lambda s: (images(s) / "IM-0004-0007.dcm").write_bytes(b""),
            r"IM-0004-0007\.dcm and IM-0003-0007\.dcm have the",
        ),
        (lambda s: (images(s) / "IM-0003-0008.dcm").write_bytes(b"x"), r"IM-0003-0008\.dcm cannot be read"),
        (lambda s: (s / "scd_patientdata.csv").unlink(), r"scd_patientdata\.csv does not exist"),
        (lambda s: (s / "scd_patientdata.csv").write_text("PatientID\nSCD0000101\n"), "no column 'OriginalID'"),
        (
            lambda s: (s / "scd_patientdata.csv").write_text("PatientID,OriginalID\na,SC-N-40\n"),
            "SC-HF-I-01 has no row",
        ),
        (lambda s: (s / "scd_patientdata.csv").write_text("PatientID,OriginalID\na,N40\n"), "'N40' is not the name"),
        (
            lambda s: (s / "scd_patientdata.csv").write_text("PatientID,OriginalID\na,SC-N-4\nb,SC-N-04\n"),
            "two rows for SC-N-04",
        ),
        (lambda s: contour(s, 7).write_text("1 2\n3 four\n"), r"0007-icontour-manual\.txt is not a contour"),
        (lambda s: contour(s, 7).write_text("1 2\n3 4\n"), "0007.* must hold at least three lines"),
        (lambda s: contour(s, 7).write_text("1 2\n3 4\n40 5\n"), "0007.* leaves the image of 16 x 12 pixels"),
        (lambda s: [contour(s, n).unlink() for n in (7, 11, 15)], r"SC-HF-I-01 has 1 labeled phase\(s\)"),
        (lambda s: [path.unlink() for path in contour(s, 7).parent.iterdir()], "holds no contours"),
    ],
)
def test_bad_source_names_the_file_and_writes_nothing(source, tmp_path, damage, message):
    damage(source)
    with pytest.raises(UserError, match=message):
        convert_sunnybrook(source, 501, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_missing_position_is_an_error(source, tmp_path):
    remove_images(source, 17, 18, 19, 20)  # the last position: unlabeled, and no gap
    convert_sunnybrook(source, 501, tmp_path / "raw", dry_run=True)
    for number in (9, 11):
        contour(source, number).unlink()
    remove_images(source, 9, 10, 11, 12)
    with pytest.raises(UserError, match=r"9\.00 to 18\.00 mm apart. If one is missing after IM-0003-0005\.dcm"):
        convert_sunnybrook(source, 501, tmp_path / "raw")


def test_image_of_another_size_is_an_error(source, tmp_path):
    write_dicom(images(source) / "IM-0003-0007.dcm", 1, STEP_MM, shape=(ROWS, COLUMNS + 2))
    with pytest.raises(UserError, match="another size"):
        convert_sunnybrook(source, 501, tmp_path / "raw")
    assert not (tmp_path / "raw" / "Dataset501_Sunnybrook" / "dataset.json").exists()


def test_dry_run_and_again(source, tmp_path):
    assert not convert_sunnybrook(source, 501, tmp_path / "raw", dry_run=True).exists()
    before = contents(convert_sunnybrook(source, 501, tmp_path / "raw"))
    assert contents(convert_sunnybrook(source, 501, tmp_path / "raw")) == before


@pytest.mark.parametrize(
    ("positions", "expected"), [([2, 3, 4], [2, 3, 4]), ([0, 2, 3, 5], [2, 3]), ([7], [7]), ([1, 2, 4, 5], [1, 2])]
)
def test_longest_run(positions, expected):
    assert longest_run(positions) == expected
