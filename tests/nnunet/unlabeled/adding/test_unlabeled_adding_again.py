import errno
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from planned_dataset import DATASET, environment_of
from unlabeled_dataset import make_raw, volume, write

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.unlabeled.adding.add import add_unlabeled
from nnunet_pix2rep.nnunet.worker_processes import only_process


@pytest.fixture
def raw(tmp_path):
    with environment_of(tmp_path):
        yield make_raw(tmp_path)


def test_the_same_command_again_changes_nothing(raw, source):
    write(volume(1), source / "a.nrrd")
    add_unlabeled(DATASET, source)
    path = raw / "imagesUn" / "a_0000.nii.gz"
    before = path.stat().st_mtime_ns
    time.sleep(0.01)
    report = add_unlabeled(DATASET, source)
    assert (report.added, report.present) == ({}, {"a.nrrd": "a"})
    assert path.stat().st_mtime_ns == before


def test_nothing_is_overwritten(raw, source):
    write(volume(1), source / "a.nii.gz")
    add_unlabeled(DATASET, source)
    write(volume(2), source / "a.nii.gz")
    report = add_unlabeled(DATASET, source)
    assert "another image" in report.problems["a.nii.gz"]
    kept = SimpleITK.ReadImage(str(raw / "imagesUn" / "a_0000.nii.gz"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(kept), SimpleITK.GetArrayFromImage(volume(1)))
    assert not [path for path in raw.iterdir() if path.name.startswith(".")]


def test_an_interrupted_run_is_completed(raw, source, monkeypatch):
    for name in "ab":
        write(volume(ord(name)), source / f"{name}.nrrd")
    real = SimpleITK.WriteImage

    def stop_at_b(image, path, **kwargs):
        if "b_0000" in path:
            raise KeyboardInterrupt
        real(image, path, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(SimpleITK, "WriteImage", stop_at_b)
        with pytest.raises(KeyboardInterrupt):
            add_unlabeled(DATASET, source)
    (raw / "imagesUn" / ".adding_killed").mkdir()
    report = add_unlabeled(DATASET, source)
    assert (list(report.added), list(report.present)) == (["b.nrrd"], ["a.nrrd"])
    assert not list((raw / "imagesUn").glob(".adding_*"))
    assert sorted(path.name for path in raw.iterdir()) == ["dataset.json", "imagesTr", "imagesUn"]


def test_copies_are_skipped_whatever_they_are_called(raw, source):
    write(volume(100), source / "annotated under another name.mha")  # is case_00
    write(volume(1), source / "case_01.nii.gz")
    write(volume(9), raw / "imagesTs" / "test_0000.nii.gz")
    write(volume(9), source / "of test.nrrd")
    write(volume(2), source / "new.nii.gz")
    write(volume(2), source / "new again.nrrd")
    report = add_unlabeled(DATASET, source)
    assert len(report.added) == 1
    assert set(report.skipped) == {"annotated under another name.mha", "case_01.nii.gz", "of test.nrrd"} | (
        {"new.nii.gz", "new again.nrrd"} - set(report.added)
    )
    assert "imagesTr/case_00" in report.skipped["annotated under another name.mha"]
    assert "imagesTs/test" in report.skipped["of test.nrrd"]


def test_two_files_for_one_name_are_both_refused(raw, source):
    write(volume(1), source / "a.nii.gz")
    write(volume(2), source / "a.nrrd")
    write(volume(3), source / "b" / "c.nrrd")
    write(volume(4), source / "b_c.nrrd")
    report = add_unlabeled(DATASET, source)
    assert report.added == {}
    assert set(report.problems) == {"a.nii.gz", "a.nrrd", "b/c.nrrd", "b_c.nrrd"}


def test_damaged_files_do_not_stop_the_rest(raw, source):
    write(volume(1), source / "good.nrrd")
    torn = write(volume(2), source / "torn.nii.gz")
    torn.write_bytes(torn.read_bytes()[:3000])
    (source / "text.mha").write_text("no image")
    (source / "slices").mkdir()
    (source / "slices" / "x.dcm").write_text("no image")
    report = add_unlabeled(DATASET, source)
    assert list(report.added.values()) == ["good"]
    assert set(report.problems) == {"torn.nii.gz", "text.mha", "slices"}


def test_a_dry_run_writes_nothing(raw, source):
    write(volume(1), source / "a.nrrd")
    before = sorted(raw.rglob("*"))
    report = add_unlabeled(DATASET, source, patient_regex="(.*)", dry_run=True)
    assert list(report.added.values()) == ["a"]
    assert sorted(raw.rglob("*")) == before


def test_errors_say_what_is_wrong(raw, source, tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        add_unlabeled(DATASET, source)
    source.mkdir()
    (source / "notes.txt").write_text("nothing")
    with pytest.raises(UserError, match="holds no NIfTI"):
        add_unlabeled(DATASET, source)
    write(volume(1), source / "a.nii.gz")
    with pytest.raises(UserError, match="does not exist"):
        add_unlabeled(DATASET, source, patients_table=tmp_path / "none.csv")
    (raw / "imagesUn").write_text("in the way")
    with pytest.raises(UserError, match="Cannot write to"):
        add_unlabeled(DATASET, source)
    with pytest.raises(UserError, match="nnUNet_raw"):
        add_unlabeled("Dataset999_Missing", source)


def test_two_processes_do_not_add_at_the_same_time(raw, source):
    """The second would take the first one's scratch folder for a leftover."""
    write(volume(1), source / "a.nii.gz")
    with only_process(raw / "imagesUn"):
        (raw / "imagesUn" / ".adding_first").mkdir()
        with pytest.raises(UserError, match=r"Another process is writing to .*imagesUn"):
            add_unlabeled(DATASET, source)
        assert (raw / "imagesUn" / ".adding_first").is_dir()
        assert add_unlabeled(DATASET, source, dry_run=True).added == {"a.nii.gz": "a"}
    assert add_unlabeled(DATASET, source).added == {"a.nii.gz": "a"}
    assert sorted(path.name for path in raw.iterdir()) == ["dataset.json", "imagesTr", "imagesUn"]
    assert not list((raw / "imagesUn").glob(".adding_*"))


def test_images_are_moved_into_place_within_the_disk_that_a_link_leads_to(raw, source, tmp_path, monkeypatch):
    (tmp_path / "other disk").mkdir()
    (raw / "imagesUn").symlink_to(tmp_path / "other disk")
    write(volume(51), source / "a.nii.gz")
    real = Path.replace

    def replace(self, target):
        disks = {path.resolve().is_relative_to(tmp_path / "other disk") for path in (self, Path(target))}
        if len(disks) == 2:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    assert add_unlabeled(DATASET, source).added == {"a.nii.gz": "a"}
    assert [path.name for path in (tmp_path / "other disk").glob("[!.]*")] == ["a_0000.nii.gz"]
    assert not list((tmp_path / "other disk").glob(".adding_*"))
