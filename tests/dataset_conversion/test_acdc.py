import nibabel
import numpy as np
import pytest
from raw_folders import contents, names, patients_of, read

from nnunet_pix2rep.dataset_conversion.Dataset027_ACDC import convert_acdc
from nnunet_pix2rep.errors import UserError

FRAMES, SHAPE = 5, (3, 6, 7)
SPACING, ORIGIN, DIRECTION = (1.5, 1.5, 10.0), (5.0, -6.0, 7.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0)


def label_of(seed):
    return np.random.default_rng(seed).integers(0, 4, SHAPE, np.uint8)


def write_patient(folder, write_volume, seed, ed, es, group, ending=".nii.gz"):
    """A patient as in the official archive; the header of the 4D file has another spacing, direction and origin."""
    name = folder.name
    cine = np.random.default_rng(seed).integers(0, 500, (FRAMES, *SHAPE), np.int16)
    write_volume(folder / f"{name}_4d{ending}", cine, spacing=(1.0, 1.0, 1.0), origin=(0, 0, 0))
    for frame in (ed, es):
        write_volume(folder / f"{name}_frame{frame:02d}{ending}", cine[frame - 1], SPACING, ORIGIN, DIRECTION)
        label = label_of(seed + frame)
        write_volume(folder / f"{name}_frame{frame:02d}_gt{ending}", label, SPACING, ORIGIN, DIRECTION)
    lines = [f"ED: {ed}", f"ES: {es}", f"Group: {group}", "Height: 184.0", f"NbFrame: {FRAMES}", "Weight: 95.0"]
    (folder / "Info.cfg").write_text("\n".join(lines) + "\n")
    (folder / "MANDATORY_CITATION.md").write_text("cite us")
    return cine


@pytest.fixture
def source(tmp_path, write_volume):
    source = tmp_path / "ACDC, entpackt"
    write_patient(source / "training" / "patient001", write_volume, 10, 1, 3, "DCM")
    write_patient(source / "training" / "patient090", write_volume, 20, 4, 2, "NOR")  # ED is not always frame 1
    write_patient(source / "testing" / "patient101", write_volume, 30, 1, 5, "HCM")
    return source


def test_official_division_and_unlabeled_frames_of_training_patients_only(source, tmp_path, verify):
    folder = convert_acdc(source, 27, tmp_path / "raw")
    assert folder.name == "Dataset027_ACDC"
    training = {"patient001_frame01", "patient001_frame03", "patient090_frame02", "patient090_frame04"}
    assert names(folder / "imagesTr") == names(folder / "labelsTr") == training
    testing = {"patient101_frame01", "patient101_frame05"}
    assert names(folder / "imagesTs") == names(folder / "labelsTs") == testing
    unlabeled = {f"patient001_frame{frame:02d}" for frame in (2, 4, 5)}
    unlabeled |= {f"patient090_frame{frame:02d}" for frame in (1, 3, 5)}
    assert names(folder / "imagesUn") == unlabeled
    assert patients_of(folder).keys() == training | testing | unlabeled
    assert patients_of(folder)["patient090_frame05"] == {"patient": "patient090", "group": "NOR"}
    assert patients_of(folder)["patient101_frame01"] == {"patient": "patient101", "group": "HCM"}
    verify(folder)


def test_unlabeled_frames_are_those_of_the_cine_on_the_geometry_of_the_labeled_frame(source, tmp_path):
    folder = convert_acdc(source, 27, tmp_path / "raw")
    cine, _ = read(source / "training" / "patient090" / "patient090_4d.nii.gz")
    for frame in (1, 3, 5):
        voxels, image = read(folder / "imagesUn" / f"patient090_frame{frame:02d}_0000.nii.gz")
        np.testing.assert_array_equal(voxels, cine[frame - 1])
        assert image.GetSpacing() == SPACING
        np.testing.assert_allclose(image.GetOrigin(), ORIGIN)
        np.testing.assert_allclose(image.GetDirection(), DIRECTION)


def test_labels_and_geometry_are_kept(source, tmp_path):
    folder = convert_acdc(source, 27, tmp_path / "raw")
    voxels, image = read(folder / "labelsTr" / "patient001_frame03.nii.gz")
    np.testing.assert_array_equal(voxels, label_of(13))
    np.testing.assert_allclose(image.GetDirection(), DIRECTION)
    original = source / "training" / "patient001" / "patient001_frame03.nii.gz"
    assert (folder / "imagesTr" / "patient001_frame03_0000.nii.gz").read_bytes() == original.read_bytes()


def test_extends_what_nnunets_own_conversion_wrote(source, tmp_path, monkeypatch):
    from nnunetv2.dataset_conversion import Dataset027_ACDC as upstream

    monkeypatch.setattr(upstream, "nnUNet_raw", str(tmp_path / "raw"))
    upstream.convert_acdc(str(source))
    theirs = contents(tmp_path / "raw" / "Dataset027_ACDC")
    ours = contents(convert_acdc(source, 27, tmp_path / "raw"))
    assert {name: ours[name] for name in theirs if name.startswith("images")} == {
        name: content for name, content in theirs.items() if name.startswith("images")
    }
    assert theirs.keys() < ours.keys()


def test_mirror_with_unpacked_files_in_folders(source, tmp_path, write_volume):
    mirror = source / "training" / "patient002"
    cine = write_patient(mirror, write_volume, 40, 1, 2, "RV", ending=".nii")
    for path in list(mirror.glob("*.nii")):
        inner = path.read_bytes()
        path.unlink()
        path.mkdir()
        (path / path.name.replace("patient", "p")).write_bytes(inner)
    folder = convert_acdc(source, 27, tmp_path / "raw")
    for subset, frame in (("Tr", 1), ("Tr", 2), ("Un", 3), ("Un", 4), ("Un", 5)):
        voxels, image = read(folder / f"images{subset}" / f"patient002_frame{frame:02d}_0000.nii.gz")
        np.testing.assert_array_equal(voxels, cine[frame - 1])
        assert image.GetSpacing() == SPACING


def test_header_with_zero_frame_duration(source, tmp_path):
    path = source / "training" / "patient001" / "patient001_4d.nii.gz"
    image = nibabel.load(path)
    voxels = np.asarray(image.dataobj)
    image.header["pixdim"][4] = 0
    nibabel.save(nibabel.Nifti1Image(voxels, None, image.header), path)
    folder = convert_acdc(source, 27, tmp_path / "raw")
    assert read(folder / "imagesUn" / "patient001_frame02_0000.nii.gz")[1].GetSpacing() == SPACING


def test_folder_of_the_archive_and_windows_line_ends(source, tmp_path):
    (source / "database").mkdir()
    for name in ("training", "testing"):
        (source / name).rename(source / "database" / name)
    info = source / "database" / "training" / "patient001" / "Info.cfg"
    info.write_bytes(info.read_bytes().replace(b"\n", b"\r\n"))
    folder = convert_acdc(source, 27, tmp_path / "raw")
    assert patients_of(folder)["patient001_frame01"]["group"] == "DCM"


def test_training_alone_and_a_missing_cine_are_reported(source, tmp_path, capsys):
    (source / "testing").rename(tmp_path / "elsewhere")
    (source / "training" / "patient001" / "patient001_4d.nii.gz").unlink()
    folder = convert_acdc(source, 27, tmp_path / "raw")
    assert not (folder / "imagesTs").exists()
    assert not any(name.startswith("patient001") for name in names(folder / "imagesUn"))
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Warning")]
    assert len(warnings) == 2
    assert "patient001_4d.nii.gz" in warnings[0]
    assert "testing holds no patients" in warnings[1]


def test_unusable_cine_is_left_out_and_reported(source, tmp_path, write_volume, capsys):
    write_volume(source / "training" / "patient001" / "patient001_4d.nii.gz", np.zeros((FRAMES, 3, 6, 8), np.int16))
    (source / "training" / "patient090" / "patient090_4d.nii.gz").write_bytes(b"half a file")
    folder = convert_acdc(source, 27, tmp_path / "raw")
    assert names(folder / "imagesUn") == set()
    assert len(names(folder / "imagesTr")) == 4
    printed = capsys.readouterr().out
    assert "patient001_4d.nii.gz has another size" in printed
    assert "patient090_4d.nii.gz cannot be read" in printed


def test_labeled_frame_beyond_the_cine_is_an_error(source, tmp_path, write_volume):
    write_volume(source / "training" / "patient090" / "patient090_4d.nii.gz", np.zeros((3, *SHAPE), np.int16))
    with pytest.raises(UserError, match=r"patient090/Info\.cfg: frame 4 is beyond the 3 frames"):
        convert_acdc(source, 27, tmp_path / "raw")


def test_test_patient_without_labels_gives_images_alone(source, tmp_path):
    for path in (source / "testing" / "patient101").glob("*_gt.nii.gz"):
        path.unlink()
    folder = convert_acdc(source, 27, tmp_path / "raw")
    assert names(folder / "imagesTs") == {"patient101_frame01", "patient101_frame05"}
    assert names(folder / "labelsTs") == set()


def edit_info(source, old, new):
    path = source / "training" / "patient001" / "Info.cfg"
    path.write_text(path.read_text().replace(old, new))


def truncate(source, name, patient="patient001"):
    path = source / "training" / patient / f"{patient}_{name}.nii.gz"
    path.write_bytes(path.read_bytes()[:-30])


def test_a_truncated_cine_is_left_out_and_reported(source, tmp_path, capsys):
    truncate(source, "4d", "patient090")
    folder = convert_acdc(source, 27, tmp_path / "raw")
    assert not any(name.startswith("patient090") for name in names(folder / "imagesUn"))
    assert "patient090_4d.nii.gz: it is truncated or damaged" in capsys.readouterr().out


def test_info_in_another_encoding(source, tmp_path):
    path = source / "training" / "patient001" / "Info.cfg"
    path.write_bytes(path.read_bytes() + "Name: M\xfcller\n".encode("latin-1"))
    assert patients_of(convert_acdc(source, 27, tmp_path / "raw"))["patient001_frame03"]["group"] == "DCM"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: (s / "training/patient001/Info.cfg").unlink(), r"patient001/Info\.cfg does not exist"),
        (lambda s: edit_info(s, "Group: DCM", ""), r"Info\.cfg has no value for Group"),
        (lambda s: edit_info(s, "ES: 3", "ES: x"), r"Info\.cfg: ES must be a whole number, but is 'x'"),
        (lambda s: edit_info(s, "ES: 3", "ES: 2"), r"patient001_frame02\.nii\.gz does not exist"),
        (lambda s: edit_info(s, "ES: 3", "ES: 1"), "the same case: patient001_frame01"),
        (lambda s: (s / "training/patient001/patient001_frame03_gt.nii.gz").unlink(), "frame03.* has no label"),
        (lambda s: (s / "training/patient001/patient001_frame03.nii.gz").unlink(), r"frame03_gt\.nii\.gz has no image"),
        (lambda s: edit_info(s, "ES: 3", "ES: 3.5"), r"Info\.cfg: ES must be a whole number, but is '3\.5'"),
        (lambda s: truncate(s, "frame03"), r"patient001_frame03\.nii\.gz: it is truncated or damaged"),
        (lambda s: truncate(s, "frame03_gt"), r"patient001_frame03_gt\.nii\.gz: it is truncated or damaged"),
        (lambda s: (s / "training").rename(s / "train"), "holds neither training nor database/training"),
    ],
)
def test_bad_source_names_the_file_and_writes_nothing(source, tmp_path, damage, message):
    damage(source)
    with pytest.raises(UserError, match=message):
        convert_acdc(source, 27, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_unknown_label_is_an_error(source, tmp_path, write_volume):
    path = source / "training" / "patient001" / "patient001_frame03_gt.nii.gz"
    write_volume(path, np.full(SHAPE, 4, np.uint8))
    with pytest.raises(UserError, match=r"frame03_gt\.nii\.gz has the label 4, but only \[0, 1, 2, 3\]"):
        convert_acdc(source, 27, tmp_path / "raw")


def test_dry_run_and_again(source, tmp_path):
    assert not convert_acdc(source, 27, tmp_path / "raw", dry_run=True).exists()
    before = contents(convert_acdc(source, 27, tmp_path / "raw"))
    assert contents(convert_acdc(source, 27, tmp_path / "raw")) == before
