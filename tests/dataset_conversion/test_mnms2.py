import numpy as np
import pytest
from raw_folders import contents, names, patients_of, read

from nnunet_pix2rep.dataset_conversion.Dataset116_MNMs2 import convert_mnms2
from nnunet_pix2rep.errors import UserError

FRAMES, SHAPE = 3, (3, 6, 7)
SPACING, ORIGIN = (1.3, 1.3, 8.0), (1.0, 2.0, 3.0)
HEADER = "SUBJECT_CODE,DISEASE,VENDOR,SCANNER,FIELD"
ROWS = [
    "1.0,HCM,SIEMENS,Symphony,1.5",
    ",,,,",
    "160.0,NOR,Philips MEDICAL SYSTEMS,Achieva,3.0",
    "161.0,TRI,GE,Signa,1.5",
    "",
    "360.0,LV,SIEMENS,Avanto,1.5",
]


@pytest.fixture
def source(tmp_path, write_volume):
    source = tmp_path / "M&Ms 2 (größe)" / "MnM2"
    for code in ("001", "160", "161", "360"):
        random = np.random.default_rng(int(code))
        folder = source / "dataset" / code
        for view in ("SA", "LA"):
            for phase in ("ED", "ES"):
                image = random.integers(0, 900, SHAPE, np.int16)
                write_volume(folder / f"{code}_{view}_{phase}.nii.gz", image, SPACING, ORIGIN)
                label = random.integers(0, 4, SHAPE, np.uint8)
                write_volume(folder / f"{code}_{view}_{phase}_gt.nii.gz", label, SPACING, ORIGIN)
        cine = random.integers(0, 900, (FRAMES, *SHAPE), np.int16)
        write_volume(folder / f"{code}_SA_CINE.nii.gz", cine, (1, 1, 1), ORIGIN)
    (source / "dataset_information.csv").write_text("\n".join([HEADER, *ROWS]), encoding="utf-8-sig")
    return source


def test_official_division_of_the_short_axis_view(source, tmp_path, verify):
    folder = convert_mnms2(source, 116, tmp_path / "raw")
    training, testing = {"001_ED", "001_ES", "160_ED", "160_ES"}, {"161_ED", "161_ES", "360_ED", "360_ES"}
    unlabeled = {f"{code}_frame{frame:02d}" for code in ("001", "160") for frame in range(FRAMES)}
    assert names(folder / "imagesTr") == names(folder / "labelsTr") == training
    assert names(folder / "imagesTs") == names(folder / "labelsTs") == testing
    assert names(folder / "imagesUn") == unlabeled
    patients = patients_of(folder)
    assert patients.keys() == training | testing | unlabeled
    assert patients["160_frame02"] == {"patient": "160", "group": "NOR"}
    assert patients["161_ED"] == {"patient": "161", "group": "TRI"}
    verify(folder)


def test_images_labels_and_geometry(source, tmp_path):
    folder = convert_mnms2(source, 116, tmp_path / "raw")
    original = source / "dataset" / "160"
    assert (folder / "imagesTr" / "160_ES_0000.nii.gz").read_bytes() == (original / "160_SA_ES.nii.gz").read_bytes()
    voxels, image = read(folder / "labelsTr" / "160_ES.nii.gz")
    np.testing.assert_array_equal(voxels, np.array([0, 3, 2, 1])[read(original / "160_SA_ES_gt.nii.gz")[0]])
    assert image.GetSpacing() == pytest.approx(SPACING)
    voxels, image = read(folder / "imagesUn" / "160_frame01_0000.nii.gz")
    np.testing.assert_array_equal(voxels, read(original / "160_SA_CINE.nii.gz")[0][1])
    assert image.GetSpacing() == pytest.approx(SPACING)
    np.testing.assert_allclose(image.GetOrigin(), ORIGIN)


def test_what_is_left_out_is_reported_at_the_end(source, tmp_path, write_volume, capsys):
    (source / "dataset" / "001" / "001_SA_CINE.nii.gz").unlink()
    write_volume(source / "dataset" / "160" / "160_SA_CINE.nii.gz", np.zeros((FRAMES, 4, 6, 7), np.int16))
    rows = [row for row in ROWS if not row.startswith("360")] + ["7.0,HCM,GE,Signa,1.5"]
    (source / "dataset_information.csv").write_text("\n".join([HEADER, *rows]))
    folder = convert_mnms2(source, 116, tmp_path / "raw")
    printed = capsys.readouterr().out
    assert "Warning: 007 is in the table, but has no folder" in printed
    assert "360 is not in the table" in printed
    assert "has no 001_SA_CINE.nii.gz" in printed
    assert "160_SA_CINE.nii.gz has another size" in printed
    assert names(folder / "imagesUn") == set()
    assert names(folder / "imagesTs") == {"161_ED", "161_ES"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: (s / "dataset_information.csv").unlink(), r"dataset_information\.csv does not exist"),
        (lambda s: (s / "dataset_information.csv").write_text("SUBJECT_CODE\n1\n"), "no column 'DISEASE'"),
        (
            lambda s: (s / "dataset_information.csv").write_text(f"{HEADER}\n1.5,a,b,c,d\n"),
            "SUBJECT_CODE must be a whole number, but is '1.5'",
        ),
        (
            lambda s: (s / "dataset_information.csv").write_text(f"{HEADER}\n1,a,b,c,d\n1.0,a,b,c,d\n"),
            "two rows for subject 001",
        ),
        (lambda s: (s / "dataset/161/161_SA_ED.nii.gz").unlink(), r"161_SA_ED_gt\.nii\.gz has no image"),
        (lambda s: (s / "dataset/161/161_SA_ED_gt.nii.gz").unlink(), r"161_SA_ED_gt\.nii\.gz does not exist"),
        (lambda s: (s / "dataset/161/161_SA_ES_gt.nii.gz").write_bytes(b""), r"161_SA_ES_gt\.nii\.gz cannot be read"),
        (lambda s: (s / "dataset").rename(s / "data"), "holds neither dataset nor MnM2/dataset"),
    ],
)
def test_bad_source_names_the_file_and_writes_nothing(source, tmp_path, damage, message):
    damage(source)
    with pytest.raises(UserError, match=message):
        convert_mnms2(source, 116, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_dry_run_and_again(source, tmp_path):
    assert not convert_mnms2(source.parent, 116, tmp_path / "raw", dry_run=True).exists()
    before = contents(convert_mnms2(source, 116, tmp_path / "raw"))
    assert contents(convert_mnms2(source, 116, tmp_path / "raw")) == before
