import json
import os
from functools import partial

import numpy as np
import pytest
import SimpleITK
from raw_folders import contents, patients_of

from nnunet_pix2rep.dataset_conversion.command import raw_folder_or_default
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.raw_dataset_writer import Case, DatasetDescription, write_raw_dataset

DESCRIPTION = DatasetDescription("Toy", "MRI", {"background": 0, "LV": 1}, "a paper", "CC0", "toy")


def volume(seed: int, high: int = 2) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(np.random.default_rng(seed).integers(0, high, (3, 8, 9), dtype=np.uint8))
    image.SetSpacing((1.0, 2.0, 3.0))
    return image


def case(name: str, subset: str = "Tr", seed: int = 0, patient: str | None = None) -> Case:
    label = None if subset == "Un" else partial(volume, seed + 100)
    return Case(name, subset, patient or name, "A", partial(volume, seed, 200), label)


CASES = [case("p1_ED", seed=1, patient="p1"), case("p1_ES", seed=2, patient="p1"), case("p2_ED", "Ts", 3, "p2")]
CASES += [case("p1_f03", "Un", 4, "p1")]


def write(raw_folder, cases=CASES, dataset_id=501, **options):
    return write_raw_dataset(cases, DESCRIPTION, dataset_id, raw_folder, **options)


def test_layout_is_nnunets_with_unlabeled_images_apart(tmp_path):
    folder = write(tmp_path)
    assert folder == tmp_path / "Dataset501_Toy"
    assert set(contents(folder)) == {
        "imagesTr/p1_ED_0000.nii.gz",
        "imagesTr/p1_ES_0000.nii.gz",
        "labelsTr/p1_ED.nii.gz",
        "labelsTr/p1_ES.nii.gz",
        "imagesTs/p2_ED_0000.nii.gz",
        "labelsTs/p2_ED.nii.gz",
        "imagesUn/p1_f03_0000.nii.gz",
        "patients.json",
        "dataset.json",
    }
    dataset = json.loads((folder / "dataset.json").read_text())
    assert dataset["numTraining"] == 2
    assert dataset["labels"] == {"background": 0, "LV": 1}
    assert dataset["channel_names"] == {"0": "MRI"}
    assert patients_of(folder)["p1_f03"] == {"patient": "p1", "group": "A"}
    assert set(patients_of(folder)) == {"p1_ED", "p1_ES", "p2_ED", "p1_f03"}


def test_again_gives_the_same_files(tmp_path):
    before = contents(write(tmp_path))
    assert contents(write(tmp_path)) == before


def test_more_source_data_extends_the_dataset(tmp_path):
    write(tmp_path, CASES[:1])
    extended = contents(write(tmp_path))
    assert extended == contents(write(tmp_path / "at once"))


def test_interrupted_conversion_has_no_dataset_json_and_is_completed_by_running_again(tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    broken = [CASES[0], Case("p1_ES", "Tr", "p1", "A", CASES[1].image, interrupt), *CASES[2:]]
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, broken)
    partial_files = contents(tmp_path / "Dataset501_Toy")
    assert "dataset.json" not in partial_files
    complete = contents(write(tmp_path / "whole"))
    assert partial_files.items() < complete.items()
    assert contents(write(tmp_path)) == complete


def test_temporary_file_of_a_killed_conversion_is_removed(tmp_path):
    complete = contents(write(tmp_path))
    leftover = tmp_path / "Dataset501_Toy" / "imagesTr" / ".p1_ED_0000.abcd1234.nii.gz"
    leftover.write_bytes(b"half a volume")
    assert contents(write(tmp_path)) == complete


def test_failing_write_leaves_no_partial_file(tmp_path, monkeypatch):
    monkeypatch.setattr(SimpleITK, "WriteImage", lambda *args, **kwargs: (_ for _ in ()).throw(RuntimeError("full")))
    with pytest.raises(UserError, match=r"p1_ED_0000\.nii\.gz cannot be written"):
        write(tmp_path)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("foreign", ["imagesTr/other_0000.nii.gz", "labelsTr/other.nii.gz", "imagesUn/other_0000.png"])
def test_folder_with_foreign_files_is_left_alone(tmp_path, foreign):
    path = tmp_path / "Dataset501_Toy" / foreign
    path.parent.mkdir(parents=True)
    path.write_bytes(b"theirs")
    with pytest.raises(UserError, match=foreign):
        write(tmp_path)
    assert contents(tmp_path) == {f"Dataset501_Toy/{foreign}": b"theirs"}


def test_volume_that_differs_is_not_overwritten(tmp_path):
    folder = write(tmp_path)
    changed = folder / "labelsTr" / "p1_ED.nii.gz"
    SimpleITK.WriteImage(volume(99), str(changed))
    before = contents(folder)
    with pytest.raises(UserError, match=r"p1_ED\.nii\.gz exists and differs"):
        write(tmp_path)
    assert contents(folder) == before


def test_volume_with_other_spacing_is_not_overwritten(tmp_path):
    folder = write(tmp_path)
    image = volume(1, 200)
    image.SetSpacing((1.0, 2.0, 4.0))
    SimpleITK.WriteImage(image, str(folder / "imagesTr" / "p1_ED_0000.nii.gz"))
    with pytest.raises(UserError, match="exists and differs"):
        write(tmp_path)


def test_same_volume_compressed_differently_is_accepted(tmp_path):
    folder = write(tmp_path)
    SimpleITK.WriteImage(volume(1, 200), str(folder / "imagesTr" / "p1_ED_0000.nii.gz"), True, 1)
    write(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "key"),
    [
        ("dataset.json", {"labels": {"background": 0, "RV": 1}}, "labels"),
        ("dataset.json", {"channel_names": {"0": "CT"}}, "channel_names"),
        ("patients.json", {"p1_ED": {"patient": "p1", "group": "mine"}}, "p1_ED"),
    ],
)
def test_other_descriptions_are_not_overwritten(tmp_path, file, content, key):
    folder = write(tmp_path)
    (folder / file).write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"{file} has {key}"):
        write(tmp_path)
    assert json.loads((folder / file).read_text()) == content


def test_what_a_user_added_to_the_json_files_is_kept(tmp_path):
    folder = write(tmp_path)
    added = {
        "dataset.json": {"overwrite_image_reader_writer": "NibabelIO"},
        "patients.json": {"mine": {"patient": "p9"}},
    }
    for name, content in added.items():
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | content))
    before = contents(folder)
    assert contents(write(tmp_path)) == before


def test_a_link_to_a_volume_stays_a_link(tmp_path):
    folder = write(tmp_path)
    file, store = folder / "imagesTr" / "p1_ED_0000.nii.gz", tmp_path / "store.nii.gz"
    file.rename(store)
    file.symlink_to(store)
    write(tmp_path)
    assert file.readlink() == store


def test_a_file_to_be_copied_that_is_truncated_is_refused_and_nothing_written(tmp_path):
    image = tmp_path / "image.nii.gz"
    SimpleITK.WriteImage(volume(1, 200), str(image))
    image.write_bytes(image.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"image\.nii\.gz: it is truncated"):
        write(tmp_path / "raw", [Case("p1", "Tr", "p1", None, image, partial(volume, 101))])
    assert not (tmp_path / "raw").exists()


def test_dataset_id_of_another_dataset_is_refused(tmp_path):
    (tmp_path / "Dataset501_Other").mkdir()
    with pytest.raises(UserError, match="Dataset501_Other"):
        write(tmp_path)
    assert not (tmp_path / "Dataset501_Toy").exists()


def test_dataset_id_that_only_the_results_know_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    (tmp_path / "results" / "Dataset501_Other").mkdir(parents=True)
    with pytest.raises(UserError, match="Dataset501_Other"):
        write(tmp_path / "raw")


@pytest.mark.parametrize("dataset_id", [0, -1, 1000])
def test_dataset_id_out_of_range(tmp_path, dataset_id):
    with pytest.raises(UserError, match="between 1 and 999"):
        write(tmp_path, dataset_id=dataset_id)


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ([*CASES, CASES[0]], "the same case: p1_ED"),
        ([CASES[0], case("p1_ED", "Un")], "the same case: p1_ED"),
        ([case("p 1")], "'p 1' cannot be a case name"),
        ([case("../p1")], "cannot be a case name"),
        ([case("p1", "Ts")], "No labeled training case"),
        ([], "No labeled training case"),
    ],
)
def test_bad_cases_write_nothing(tmp_path, cases, message):
    with pytest.raises(UserError, match=message):
        write(tmp_path, cases)
    assert contents(tmp_path) == {}


def test_dry_run_names_every_file_and_writes_none(tmp_path, capsys):
    folder = write(tmp_path, dry_run=True, warnings=["slice 3 is odd"])
    printed = capsys.readouterr().out
    assert not folder.exists()
    for path in contents(write(tmp_path)):
        assert str(folder / path) in printed
    assert "2 in imagesTr, 1 in imagesTs, 1 in imagesUn" in printed
    assert printed.splitlines()[-1] == "Warning: slice 3 is odd"


def test_output_below_a_file_is_a_clear_error(tmp_path):
    (tmp_path / "raw").write_text("not a folder")
    with pytest.raises(UserError, match="Cannot write"):
        write(tmp_path / "raw")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser can write anywhere")
def test_read_only_output_is_a_clear_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Check permissions"):
        write(tmp_path)
    tmp_path.chmod(0o700)


def test_read_only_file_system_is_a_clear_error(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(UserError, match="Read-only file system"):
        write(tmp_path)


def test_spaces_and_accents_in_the_output_path(tmp_path):
    assert len(contents(write(tmp_path / "Daten für später" / "心"))) == 9


def test_default_output_is_nnunets_raw_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    assert raw_folder_or_default(None) == tmp_path
    assert raw_folder_or_default(tmp_path / "other") == tmp_path / "other"
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(UserError, match="nnUNet_raw is not set"):
        raw_folder_or_default(None)
