import unicodedata

import pytest

from nnunet_pix2rep.annotation.collect.labels.label_names import cases_of, find_label_files
from nnunet_pix2rep.errors import UserError

CASES = ("heart_1", "heart_1_1", "heart_2", "scan")


def found_in(folder, *names, ending=".nii.gz"):
    for name in names:
        (folder / name).touch()
    return find_label_files(folder, CASES, ending)


@pytest.mark.parametrize(
    "name",
    [
        "scan.nii.gz",
        "scan.seg.nrrd",
        "scan-label.nii.gz",
        "scan_1.nii.gz",
        "scan (1).nii.gz",
        "scan_Segmentation.nrrd",
        "scan_0000.nii.gz",
        "scan-labels_final.nii",
        "scan.mha",
    ],
)
def test_names_that_viewers_make_of_a_case(tmp_path, name):
    found = found_in(tmp_path, name)
    assert {case: file.name for case, file in found.files.items()} == {"scan": name}
    assert found.problems == []


def test_a_case_of_just_this_name_goes_first():
    assert cases_of("heart_1_1", CASES) == ["heart_1_1"]
    assert cases_of("heart_1_2", CASES) == ["heart_1"]
    assert cases_of("heart_1_1_2", CASES) == ["heart_1", "heart_1_1"]
    assert cases_of("heart_12", CASES) == []


@pytest.mark.parametrize("name", ["anna_2", "anna_2-label", "anna_2 (1)"])
def test_a_name_that_fits_another_scan_more_closely_is_not_taken(tmp_path, name):
    """The label of a scan that was not chosen is never taken for that of a chosen one."""
    others = ("anna", "anna_2", "ben")
    assert cases_of(name, ("anna", "ben"), others) == []
    assert cases_of("anna_3", ("anna", "ben"), others) == ["anna"]
    assert cases_of("anna_2-label", ("anna_2",), others) == ["anna_2"]
    (tmp_path / f"{name}.nii.gz").touch()
    (problem,) = find_label_files(tmp_path, ("anna", "ben"), ".nii.gz", others).problems
    assert f"{name}.nii.gz belongs to no case that is to be annotated" in problem


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("notes.txt",), "notes.txt is no label file"),
        (("scan2.nii.gz",), "scan2.nii.gz belongs to no case"),
        (("scan.nii.gz", "scan_1.nii.gz"), "scan.nii.gz and scan_1.nii.gz are both labels of scan"),
        (("heart_1_1_2.nii.gz",), "heart_1_1_2.nii.gz may belong to heart_1 or heart_1_1"),
        (("scan.json",), "scan.json is no label file"),
    ],
)
def test_files_that_cannot_be_told(tmp_path, names, message):
    (problem,) = found_in(tmp_path, *names).problems
    assert message in problem


def test_a_folder_among_the_labels(tmp_path):
    (tmp_path / "old").mkdir()
    assert "old is no label file" in found_in(tmp_path, "scan.nii.gz").problems[0]


def test_files_of_systems_and_spacings_of_3d_tiffs_are_left_out(tmp_path):
    found = found_in(tmp_path, "scan.tif", "scan.json", ".DS_Store", "Thumbs.db", "desktop.ini", ending=".tif")
    assert (list(found.files), found.problems) == (["scan"], [])


@pytest.mark.parametrize(
    ("header", "voxels"),
    [
        ("scan.mhd", "scan.raw"),
        ("scan.mhd", "scan.zraw"),
        ("scan.nhdr", "scan.raw"),
        ("scan.seg.nhdr", "scan.seg.raw.gz"),
    ],
)
def test_voxels_beside_their_header(tmp_path, header, voxels):
    (problem,) = found_in(tmp_path, voxels).problems
    assert f"{voxels} is no label file" in problem
    found = found_in(tmp_path, header)
    assert ({case: file.name for case, file in found.files.items()}, found.problems) == ({"scan": header}, [])


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("addition", ["", "-label"])
def test_an_umlaut_may_be_composed_or_not(tmp_path, forms, addition):
    """File managers show both alike."""
    case, name = (unicodedata.normalize(form, "Müller_3") for form in forms)
    (tmp_path / f"{name}{addition}.png").touch()
    found = find_label_files(tmp_path, [case], ".png", others=[case, name, "Müller"])
    assert (list(found.files), found.problems) == ([case], [])


def test_of_two_cases_that_look_alike_the_one_of_just_this_name_is_meant():
    cases = [unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD")]
    assert [cases_of(case, cases) for case in cases] == [[case] for case in cases]


def test_no_labels(tmp_path):
    with pytest.raises(UserError, match="is empty"):
        find_label_files(tmp_path, CASES, ".nii.gz")
    with pytest.raises(UserError, match="is not a folder"):
        find_label_files(tmp_path / "none", CASES, ".nii.gz")
