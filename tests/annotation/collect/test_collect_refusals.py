"""Labels that cannot be taken: everything wrong is named at once, with file and slice, and nothing is changed."""

import shutil

import nibabel
import numpy as np
import pytest
import SimpleITK
from work_folders import CHOSEN, IGNORE

from nnunet_pix2rep.annotation.collect.labels.placement import TWO_PLACES
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json


@pytest.fixture
def refused(scans):
    """Checks that collecting is refused with these words, and changes nothing."""

    def check(*words, **options):
        before = scans.contents()
        with pytest.raises(UserError) as error:
            scans.collect(**options)
        assert scans.contents() == before
        for word in words:
            assert word in str(error.value)

    return check


def test_untouched_slices(scans, refused):
    scans.suggest(CHOSEN)
    scans.draw({"case_03": [3]})
    refused("case_00.nii.gz, slice 6: nothing is drawn", "case_03.nii.gz, slice 7: nothing is drawn", "--allow-empty")
    assert scans.collect(empty_slices="background").slices == CHOSEN
    assert (scans.taken("case_03")[7] == 0).all()


def test_everything_wrong_is_named_at_once(scans, refused):
    scans.prepare(CHOSEN)
    (scans.labels / "notes.txt").touch()
    painted = scans.drawn("case_00")
    painted[8, 3:5, 3] = 1
    painted[6, 0, 0] = 9
    scans.write("case_00", painted)
    file = scans.labels / "case_03.nii.gz"
    file.write_bytes(file.read_bytes()[:100])
    refused(
        "notes.txt is no label file",
        "case_00.nii.gz, slice 8: 2 pixel(s) are drawn over the ignore label",
        "case_00.nii.gz, slice 6: the value 9 is not one of the dataset's 0, 1, 2, 3",
        "case_03.nii.gz: it is truncated",
    )


def test_a_label_of_a_case_that_was_not_suggested(scans, refused):
    scans.prepare(CHOSEN)
    (scans.labels / "case_00.nii.gz").rename(scans.labels / "case_01.nii.gz")
    refused("case_01.nii.gz belongs to no case that is to be annotated", "case_00 has no label file")


@pytest.mark.parametrize("folder", ["imagesTr", "imagesUn", "imagesTs"])
def test_a_label_of_another_scan_whose_name_begins_alike(scans, refused, folder):
    scans.prepare(CHOSEN)
    (scans.raw / folder).mkdir(exist_ok=True)
    shutil.copy(scans.image_files("case_00")[0], scans.raw / folder / "case_00_2_0000.nii.gz")
    (scans.labels / "case_00.nii.gz").rename(scans.labels / "case_00_2.nii.gz")
    refused("case_00_2.nii.gz belongs to no case that is to be annotated")


def test_two_files_of_one_case(scans, refused):
    scans.prepare(CHOSEN)
    scans.write("case_00", scans.drawn("case_00"), "case_00-label.nrrd")
    refused("case_00-label.nrrd and case_00.nii.gz are both labels of case_00")


def test_a_lost_geometry(scans, refused):
    scans.prepare(CHOSEN)
    labels = scans.drawn("case_00").transpose(2, 1, 0).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([2, 2, 2, 1])), scans.labels / "case_00.nii.gz")
    refused("case_00.nii.gz: its geometry no longer fits its image", "spacing (2.0, 2.0, 2.0) instead of")


def test_segments_whose_names_and_numbers_do_not_go_together(scans, refused):
    scans.prepare(CHOSEN)
    drawn = scans.drawn("case_00")
    (scans.labels / "case_00.nii.gz").unlink()
    file = scans.write("case_00", drawn, "case_00.seg.nrrd")
    label = SimpleITK.ReadImage(str(file))
    for index, (name, value) in enumerate([("core", 1), ("ring", 2)]):
        label.SetMetaData(f"Segment{index}_Name", name)
        label.SetMetaData(f"Segment{index}_LabelValue", str(value))
    SimpleITK.WriteImage(label, str(file))
    refused("case_00.seg.nrrd: its segments are numbered in another way", '"core" has the number 1')


def test_labels_of_the_dataset_that_are_none_are_not_merged(scans, refused):
    """65537 would become 1."""
    scans.prepare(CHOSEN)
    scans.collect()
    volume = SimpleITK.ReadImage(str(scans.raw / "labelsTr" / "case_03.nii.gz"))
    SimpleITK.WriteImage(
        SimpleITK.Cast(volume, SimpleITK.sitkInt32) + 65536, str(scans.raw / "labelsTr" / "case_03.nii.gz")
    )
    refused("labelsTr/case_03.nii.gz has values from 65536 to 65539, which are no labels")


def test_test_cases(scans, refused):
    scans.prepare(CHOSEN)
    (scans.raw / "imagesTs").mkdir()
    (scans.raw / "imagesUn" / "case_00_0000.nii.gz").rename(scans.raw / "imagesTs" / "case_00_0000.nii.gz")
    refused("case_00 is a test case")


@pytest.mark.parametrize("file", [True, False])
def test_another_scan_of_a_test_patient(scans, refused, file):
    """By patients.json, or by the patient that the suggestion names."""
    scans.suggest(CHOSEN, patients=None if file else {"case_00": "test_scan"})
    scans.draw(CHOSEN)
    (scans.raw / "imagesTs").mkdir()
    scans.image_files("case_05")[0].rename(scans.raw / "imagesTs" / "test_scan_0000.nii.gz")
    if file:
        write_json({case: {"patient": "anna"} for case in ("case_00", "test_scan")}, scans.raw / "patients.json")
    refused("case_00 is of a test patient", "anna" if file else "test_scan")


def test_a_scan_that_is_gone(scans, refused):
    scans.prepare(CHOSEN)
    (scans.raw / "imagesUn" / "case_00_0000.nii.gz").unlink()
    refused("case_00 has no image in imagesTr or imagesUn")


def test_another_image_of_the_same_name_in_imagesun_never_replaces_the_annotated_one(scans, refused):
    scans.prepare(CHOSEN)
    scans.collect()
    image = scans.raw / "imagesTr" / "case_00_0000.nii.gz"
    namesake = scans.raw / "imagesUn" / image.name
    shutil.copy(scans.raw / "imagesUn" / "case_05_0000.nii.gz", namesake)
    refused("case_00 has two images: case_00_0000.nii.gz in imagesTr and in imagesUn are not the same. Rename one")
    shutil.copy(image, namesake)  # as an interrupted run leaves it
    scans.collect()
    assert not namesake.exists()


def test_an_image_that_was_replaced_since_it_was_suggested(scans, refused):
    """Of two scans of one size whose files were swapped, each would get the labels of the other patient."""
    scans.prepare(CHOSEN)
    files = [scans.raw / "imagesUn" / f"{case}_0000.nii.gz" for case in CHOSEN]
    first, second = (file.read_bytes() for file in files)
    files[0].write_bytes(second)
    files[1].write_bytes(first)
    refused(*(f"{case} was suggested with another image" for case in CHOSEN), f"{files[0]} was changed", "has a copy")
    files[0].write_bytes(first)
    files[1].write_bytes(second)
    assert scans.collect().changed == list(CHOSEN)


def test_renamed_and_float_files_of_viewers_are_taken(scans):
    scans.prepare(CHOSEN)
    drawn = {case: scans.drawn(case) for case in CHOSEN}
    for case, name in (("case_00", "case_00.seg.nrrd"), ("case_03", "case_03_1.nii.gz")):
        (scans.labels / f"{case}.nii.gz").unlink()
        scans.write(case, drawn[case], name, np.float32)
    report = scans.collect()
    assert report.renamed == {"case_00": "case_00.seg.nrrd", "case_03": "case_03_1.nii.gz"}
    for case, labels in drawn.items():
        np.testing.assert_array_equal(scans.taken(case), labels)
        header = nibabel.load(scans.raw / "labelsTr" / f"{case}.nii.gz").header
        assert header.get_data_dtype() == np.uint8


def test_an_equivalent_header_gives_way_to_that_of_the_image(scans):
    scans.prepare({"case_00": [6]})
    image = nibabel.load(scans.image_files("case_00")[0])
    labels = scans.drawn("case_00").transpose(2, 1, 0).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(labels, image.affine), scans.labels / "case_00.nii.gz")
    scans.collect()
    taken = nibabel.load(scans.raw / "labelsTr" / "case_00.nii.gz")
    for key in ("qform_code", "sform_code", "quatern_b", "qoffset_x", "srow_x", "pixdim"):
        np.testing.assert_array_equal(taken.header[key], image.header[key])


def test_an_image_that_programs_show_in_two_places_is_said(scans):
    image = nibabel.load(scans.image_files("case_00")[0])
    turn = nibabel.affines.from_matvec(nibabel.eulerangles.euler2mat(z=0.1), np.zeros(3))
    twofold = nibabel.Nifti1Image(image.get_fdata(dtype=np.float32), turn @ image.affine)
    twofold.set_sform(turn @ image.affine, 2)
    twofold.set_qform(image.affine, 1)
    nibabel.save(twofold, scans.image_files("case_00")[0])
    scans.prepare({"case_00": [6]})
    drawn = scans.drawn("case_00")
    nibabel.save(nibabel.Nifti1Image(drawn.T.astype(np.uint8), twofold.affine), scans.labels / "case_00.nii.gz")
    assert scans.collect().notes == [f"case_00.nii.gz, {TWO_PLACES}"]
    np.testing.assert_array_equal(scans.taken("case_00"), drawn)


def test_a_slice_more_than_was_asked_for_is_said(scans):
    scans.prepare({"case_00": [6]})
    scans.draw({"case_00": [5]})
    report = scans.collect()
    assert report.slices == {"case_00": [5, 6]}
    assert report.notes == ["case_00.nii.gz, slice 5: annotated though not chosen; taken too"]
    assert (np.delete(scans.taken("case_00"), [5, 6], axis=0) == IGNORE).all()


def test_a_dataset_json_that_lists_its_cases_is_refused(scans):
    scans.prepare(CHOSEN)
    write_json(read_json(scans.raw / "dataset.json") | {"dataset": {}}, scans.raw / "dataset.json")
    with pytest.raises(UserError, match='under the key "dataset"'):
        scans.collect()


def test_a_suggestion_for_another_dataset_is_refused(scans):
    scans.prepare(CHOSEN)
    content = read_json(scans.work / "suggestion.json")
    write_json(content | {"dataset": "Dataset002_Other"}, scans.work / "suggestion.json")
    with pytest.raises(UserError, match="Dataset002_Other, not for"):
        scans.collect()


def test_a_4d_image_is_refused(scans):
    scans.prepare(CHOSEN)
    file = scans.raw / "imagesUn" / "case_00_0000.nii.gz"
    volume = SimpleITK.ReadImage(str(file))
    SimpleITK.WriteImage(SimpleITK.JoinSeries([volume, volume]), str(file))
    with pytest.raises(UserError, match="case_00 is a 4D file"):
        scans.collect()
