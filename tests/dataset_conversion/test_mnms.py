import csv

import numpy as np
import pytest
from raw_folders import contents, names, patients_of, read

from nnunet_pix2rep.dataset_conversion.Dataset114_MNMs import convert_mnms
from nnunet_pix2rep.errors import UserError

FRAMES, SHAPE = 4, (3, 6, 7)
SPACING, ORIGIN, DIRECTION = (1.2, 1.2, 9.0), (3.0, 4.0, 5.0), (0, 1.0, 0, -1.0, 0, 0, 0, 0, 1.0)
TABLE = "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv"
OLD_TABLE = "201014_M&Ms_Dataset_Information_-_opendataset.csv"
# code: folder, vendor name, vendor, center, ED, ES
PATIENTS = {
    "A0S9V9": ("Training/Labeled", "Siemens", "A", 1, 0, 2),
    "B3D0N1": ("Training/Labeled", "Philips", "B", 2, 3, 1),
    "C5U0R6": ("Training/Unlabeled", "GE", "C", 4, 0, 2),
    "D1H6U2": ("Validation", "Canon", "D", 5, 1, 2),
    "E9V4Z8": ("Testing", "GE", "C", 4, 0, 3),
}


def write_table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", "External code", "VendorName", "Vendor", "Centre", "ED", "ES", "Age", "Pathology", "Sex"])
        for number, (code, (_, vendor_name, vendor, center, ed, es)) in enumerate(rows.items()):
            writer.writerow([number, code, vendor_name, vendor, center, ed, es, 50, "NOR", "F"])


@pytest.fixture
def source(tmp_path, write_volume):
    source = tmp_path / "M&Ms, décompressé" / "OpenDataset"
    for seed, (code, (folder, _, _, _, ed, es)) in enumerate(PATIENTS.items()):
        random = np.random.default_rng(seed)
        path = source / folder / code
        write_volume(
            path / f"{code}_sa.nii.gz", random.random((FRAMES, *SHAPE), np.float32), SPACING, ORIGIN, DIRECTION
        )
        label = np.zeros((FRAMES, *SHAPE), np.uint8)
        if folder != "Training/Unlabeled":  # its label files are there, but empty
            label[ed], label[es] = random.integers(0, 4, (2, *SHAPE))
        write_volume(path / f"{code}_sa_gt.nii.gz", label, SPACING, (0, 0, 0))
    write_table(source / TABLE, PATIENTS)
    return source


def test_official_division(source, tmp_path, verify):
    folder = convert_mnms(source, 114, tmp_path / "raw")
    training = {"A0S9V9_frame00", "A0S9V9_frame02", "B3D0N1_frame03", "B3D0N1_frame01"}
    testing = {"D1H6U2_frame01", "D1H6U2_frame02", "E9V4Z8_frame00", "E9V4Z8_frame03"}
    unlabeled = {"A0S9V9_frame01", "A0S9V9_frame03", "B3D0N1_frame00", "B3D0N1_frame02"}
    unlabeled |= {f"C5U0R6_frame{frame:02d}" for frame in range(FRAMES)}
    assert names(folder / "imagesTr") == names(folder / "labelsTr") == training
    assert names(folder / "imagesTs") == names(folder / "labelsTs") == testing
    assert names(folder / "imagesUn") == unlabeled
    patients = patients_of(folder)
    assert patients.keys() == training | testing | unlabeled
    assert patients["B3D0N1_frame00"] == {"patient": "B3D0N1", "group": "B-2"}
    assert patients["C5U0R6_frame03"] == {"patient": "C5U0R6", "group": "C-4"}
    verify(folder)


def test_labels_follow_the_order_of_acdc(source, tmp_path):
    folder = convert_mnms(source, 114, tmp_path / "raw")
    original, _ = read(source / "Training" / "Labeled" / "B3D0N1" / "B3D0N1_sa_gt.nii.gz")
    voxels, image = read(folder / "labelsTr" / "B3D0N1_frame03.nii.gz")
    for old, new in ((0, 0), (1, 3), (2, 2), (3, 1)):
        np.testing.assert_array_equal(voxels == new, original[3] == old)
    assert image.GetSpacing() == pytest.approx(SPACING)
    np.testing.assert_allclose(image.GetOrigin(), ORIGIN)


@pytest.mark.parametrize(
    ("subset", "case"), [("Tr", "A0S9V9_frame02"), ("Ts", "E9V4Z8_frame03"), ("Un", "C5U0R6_frame01")]
)
def test_images_are_the_frames_of_the_cine(source, tmp_path, subset, case):
    folder = convert_mnms(source, 114, tmp_path / "raw")
    code, frame = case[:6], int(case[-2:])
    original, _ = read(source / PATIENTS[code][0] / code / f"{code}_sa.nii.gz")
    voxels, image = read(folder / f"images{subset}" / f"{case}_0000.nii.gz")
    np.testing.assert_array_equal(voxels, original[frame])
    assert image.GetSpacing() == pytest.approx(SPACING)
    np.testing.assert_allclose(image.GetDirection(), DIRECTION)


def test_older_release_of_the_table_and_the_folder_above(source, tmp_path):
    (source / TABLE).rename(source / OLD_TABLE)
    folder = convert_mnms(source.parent, 114, tmp_path / "raw")
    assert len(names(folder / "imagesTr")) == 4


def test_latest_of_two_tables_counts(source, tmp_path):
    write_table(source / OLD_TABLE, PATIENTS | {"A0S9V9": ("Training/Labeled", "Siemens", "Z", 9, 0, 2)})
    folder = convert_mnms(source, 114, tmp_path / "raw")
    assert patients_of(folder)["A0S9V9_frame00"]["group"] == "A-1"


def test_what_is_left_out_is_reported_at_the_end(source, tmp_path, write_volume, capsys):
    rows = dict(PATIENTS) | {"Z0Z0Z0": ("", "GE", "C", 4, 0, 1)}
    del rows["D1H6U2"]
    rows["A0S9V9"] = ("Training/Labeled", "Siemens", "A", 1, 0, 3)  # frame 3 has no label, frame 2 has
    write_table(source / TABLE, rows)
    folder = convert_mnms(source, 114, tmp_path / "raw")
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Warning")]
    assert [warning.partition(":")[2].strip() for warning in warnings] == [
        "Z0Z0Z0 is in the table, but has no folder: skipped.",
        f"{source}/Training/Labeled/A0S9V9/A0S9V9_sa_gt.nii.gz has no label at frame 3, only at [0, 2]: not used as "
        "labeled.",
        f"{source}/Validation/D1H6U2 is not in the table: skipped.",
    ]
    assert "A0S9V9_frame03" in names(folder / "imagesUn")
    assert not any(name.startswith("D1H6U2") for name in names(folder / "imagesTs"))


def rewrite(source, name, content):
    (source / name).write_text(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: (s / TABLE).unlink(), "holds no table"),
        (lambda s: rewrite(s, TABLE, "External code,Vendor,ED,ES\nA0S9V9,A,0,2\n"), "csv has no column 'Centre'"),
        (
            lambda s: rewrite(s, TABLE, "External code,Vendor,Centre,ED,ES\nA0S9V9,A,1,0,2\nA0S9V9,A,1,0,2\n"),
            "csv has two rows for A0S9V9",
        ),
        (
            lambda s: rewrite(s, TABLE, "External code,Vendor,Centre,ED,ES\nA0S9V9,A,1,zero,2\n"),
            "csv: ED of A0S9V9 must be a whole number, but is 'zero'",
        ),
        (lambda s: (s / "Testing/E9V4Z8/E9V4Z8_sa.nii.gz").unlink(), r"E9V4Z8_sa_gt\.nii\.gz has no image"),
        (lambda s: (s / "Testing/E9V4Z8/E9V4Z8_sa_gt.nii.gz").unlink(), r"E9V4Z8_sa_gt\.nii\.gz does not exist"),
        (lambda s: (s / "Testing/E9V4Z8/E9V4Z8_sa.nii.gz").write_bytes(b""), r"E9V4Z8_sa\.nii\.gz cannot be read"),
        (lambda s: (s / "Training").rename(s / "training data"), "holds neither Training nor"),
    ],
)
def test_bad_source_names_the_file_and_writes_nothing(source, tmp_path, damage, message):
    damage(source)
    with pytest.raises(UserError, match=message):
        convert_mnms(source, 114, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_label_of_another_size_and_image_without_frames(source, tmp_path, write_volume):
    path = source / "Testing" / "E9V4Z8"
    write_volume(path / "E9V4Z8_sa_gt.nii.gz", np.ones((FRAMES, 3, 6, 8), np.uint8))
    with pytest.raises(UserError, match=r"E9V4Z8_sa_gt\.nii\.gz has \(8, 6, 3, 4\) voxels"):
        convert_mnms(source, 114, tmp_path / "raw")
    write_volume(path / "E9V4Z8_sa.nii.gz", np.ones(SHAPE, np.float32))
    with pytest.raises(UserError, match=r"E9V4Z8_sa\.nii\.gz must be 4D"):
        convert_mnms(source, 114, tmp_path / "raw")


def test_patient_in_two_folders_is_an_error(source, tmp_path, write_volume):
    for ending in ("_sa", "_sa_gt"):
        twin = source / "Testing" / "A0S9V9" / f"A0S9V9{ending}.nii.gz"
        twin.parent.mkdir(exist_ok=True)
        twin.write_bytes((source / "Training" / "Labeled" / "A0S9V9" / twin.name).read_bytes())
    with pytest.raises(UserError, match="the same case: A0S9V9_frame00"):
        convert_mnms(source, 114, tmp_path / "raw")


def test_dry_run_and_again(source, tmp_path):
    assert not convert_mnms(source, 114, tmp_path / "raw", dry_run=True).exists()
    before = contents(convert_mnms(source, 114, tmp_path / "raw"))
    assert contents(convert_mnms(source, 114, tmp_path / "raw")) == before
