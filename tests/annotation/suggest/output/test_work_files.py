import csv
import itertools
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.annotation.suggest.grid import ScanGrid
from nnunet_pix2rep.annotation.suggest.output.viewers import ViewerPlace
from nnunet_pix2rep.annotation.suggest.output.work_files import (
    changes_since_suggested,
    check_output,
    checksum,
    move_into_place,
    write_scan,
    write_worklist,
)
from nnunet_pix2rep.annotation.suggest.scans import Scan
from nnunet_pix2rep.annotation.work_folder import SuggestedSlice
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase

LABELS = {"background": 0, "a": 1, "ignore": 2}
LISTS = ("worklist.csv", "suggestion.json", "overview.html")


def scan_of(files, shape, frame=None):
    box = tuple((0, length) for length in shape)
    grid = ScanGrid(shape, (1.0, 1.0, 1.0), (0, 1, 2), box, shape)
    return Scan("case", "case", tuple(files), frame, None, ImageCase("case", ""), grid, 0, ())


def test_a_frame_of_a_cine_becomes_a_file_of_its_own(tmp_path):
    frames = [SimpleITK.GetImageFromArray(np.full((3, 4, 5), number, np.float32)) for number in range(3)]
    for frame in frames:
        frame.SetOrigin((1, 2, 3))
    SimpleITK.WriteImage(SimpleITK.JoinSeries(frames), str(tmp_path / "cine_0000.nii.gz"))
    files = LabelFiles({"file_ending": ".nii.gz", "labels": LABELS})
    written = write_scan(scan_of([tmp_path / "cine_0000.nii.gz"], (3, 4, 5), 2), [1], files, tmp_path / "work")
    assert np.unique(written.volume).tolist() == [1]
    image = SimpleITK.ReadImage(str(tmp_path / "work" / "images" / "case_0000.nii.gz"))
    assert image.GetSize() == (5, 4, 3)
    assert image.GetOrigin() == (1, 2, 3)
    labels = files.read(tmp_path / "work" / "labels" / "case.nii.gz").labels
    assert [np.unique(plane).tolist() for plane in labels] == [[2], [0], [2]]


def test_a_frame_of_a_cine_with_shear_which_itk_refuses(tmp_path):
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[0, 1] = 0.2
    values = np.arange(5 * 4 * 3 * 2, dtype=np.float32).reshape(5, 4, 3, 2)
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "cine_0000.nii.gz")
    files = LabelFiles({"file_ending": ".nii.gz", "labels": LABELS}, "NibabelIO")
    written = write_scan(scan_of([tmp_path / "cine_0000.nii.gz"], (3, 4, 5), 2), [1], files, tmp_path / "work")
    np.testing.assert_array_equal(written.volume, values[..., 1].T)


def test_pictures_keep_their_channels(tmp_path):
    for channel in range(2):
        SimpleITK.WriteImage(SimpleITK.Image(7, 5, SimpleITK.sitkUInt8), str(tmp_path / f"x_{channel:04d}.png"))
    files = LabelFiles({"file_ending": ".png", "labels": LABELS})
    sources = [tmp_path / f"x_{channel:04d}.png" for channel in range(2)]
    write_scan(scan_of(sources, (1, 5, 7)), [0], files, tmp_path / "work")
    assert sorted(path.name for path in (tmp_path / "work" / "images").iterdir()) == ["case_0000.png", "case_0001.png"]
    assert np.unique(files.read(tmp_path / "work" / "labels" / "case.png").labels).tolist() == [0]


def test_the_worklist_names_an_axis_for_slices_of_volumes_alone(tmp_path):
    entries = [SuggestedSlice(1, "volume", "anna", 2, None), SuggestedSlice(2, "picture", "ben", 0, None)]
    places = {"volume": [ViewerPlace("z", index) for index in range(4)], "picture": [None]}
    write_worklist(entries, places, None, tmp_path / "worklist.csv")
    with (tmp_path / "worklist.csv").open(newline="") as file:
        rows = [list(row.values())[1:6] for row in csv.DictReader(file)]
    assert rows == [["anna", "volume", "z", "3", "2"], ["ben", "picture", "", "", ""]]


@pytest.fixture
def work(tmp_path):
    """A work folder as it was suggested."""
    (tmp_path / "work").mkdir()
    move_into_place(new_suggestion(tmp_path / "work", "first"), tmp_path / "work")
    return tmp_path / "work"


def new_suggestion(work, name):
    """A complete suggestion of one scan with two channels that waits in a work folder."""
    scratch = work / f".incomplete_{name}"
    files = ("labels/case.nii.gz", "images/case_0000.nii.gz", "images/case_0001.nii.gz", *LISTS)
    for file in files:
        (scratch / file).parent.mkdir(parents=True, exist_ok=True)
        (scratch / file).write_text(f"{file} of {name}")
    return scratch


def content_of(folder):
    """All files but those of suggestions that wait or were replaced."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".incomplete_" not in str(path)]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def add(file, content=b"drawn"):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


CHANGES = {
    "labels/case.nii.gz was changed": lambda work: add(work / "labels" / "case.nii.gz"),
    "labels/new.nii.gz was added": lambda work: add(work / "labels" / "new.nii.gz"),
    "labels/done/case.nii.gz was added": lambda work: add(work / "labels" / "done" / "case.nii.gz"),
    "labels/.done/case.nii.gz was added": lambda work: add(work / "labels" / ".done" / "case.nii.gz"),
    "labels/link was added": lambda work: (work / "labels" / "link").symlink_to(work.parent),
    "labels/case.nii.gz is missing": lambda work: (work / "labels" / "case.nii.gz").rename(work.parent / "mine"),
    "labels/case.nii.gz is missing.*": lambda work: (work / "labels").rename(work.parent / "mine"),
    "images/Segmentation.nrrd was added": lambda work: add(work / "images" / "Segmentation.nrrd"),
    "images/case_0002.nii.gz was added": lambda work: add(work / "images" / "case_0002.nii.gz"),
    "images/mine/a.nrrd was added": lambda work: add(work / "images" / "mine" / "a.nrrd"),
    "images/case_0001.nii.gz was changed": lambda work: add(work / "images" / "case_0001.nii.gz"),
}


@pytest.mark.parametrize("message", CHANGES)
def test_work_in_a_work_folder_is_never_removed(work, message):
    """Before anything is computed, and again before anything is replaced."""
    CHANGES[message](work)
    before, scratch = content_of(work), new_suggestion(work, "second")
    for refuse in (lambda: check_output(work), lambda: move_into_place(scratch, work)):
        with pytest.raises(UserError, match=f"(?s)Nothing was removed.*{message}.*collect"):
            refuse()
        assert content_of(work) == before


def test_labels_without_any_checksum_are_not_removed(work):
    (work / ".label_checksums.json").unlink()
    assert changes_since_suggested(work)[0] == "labels/case.nii.gz was added."


def test_of_many_changes_the_first_are_listed(work):
    for number in range(7):
        add(work / "labels" / f"{number}.nii.gz")
    with pytest.raises(UserError, match=r"(?s)labels/4\.nii\.gz was added\.\n  and 2 more\n"):
        check_output(work)


def test_files_that_a_system_leaves_are_no_work(work):
    for folder in (work, work / "labels", work / "images"):
        for name in (".DS_Store", "Thumbs.db", "._case.nii.gz"):
            (folder / name).touch()
    check_output(work)
    move_into_place(new_suggestion(work, "second"), work)
    assert (work / "labels" / "case.nii.gz").read_text().endswith("second")


def test_a_folder_without_all_but_the_features_is_begun_anew(work):
    """As the refusal advises. The checksums stay, since file managers do not show them; a missing image is no loss."""
    for name in ("images", "labels"):
        shutil.rmtree(work / name)
    for name in LISTS:
        (work / name).unlink()
    check_output(work)
    move_into_place(new_suggestion(work, "second"), work)
    shutil.rmtree(work / "images")
    check_output(work)


@pytest.mark.parametrize("ending", [".nii.gz", ".tif"])
def test_a_work_folder_of_an_earlier_version(work, ending):
    """It has checksums of label files alone: images count by their names."""
    for file in [*(work / "images").iterdir(), *(work / "labels").iterdir()]:
        file.rename(file.with_name(file.name.replace(".nii.gz", ending)))
    if ending == ".tif":
        for folder in ("images", "labels"):
            add(work / folder / "case.json", b"spacing")
    write_json({file.name: checksum(file) for file in (work / "labels").iterdir()}, work / ".label_checksums.json")
    assert changes_since_suggested(work) == []
    for name in (f"case{ending}", f"case_0000-label{ending}", f"other_0000{ending}", f"old/case_0000{ending}"):
        add(work / "images" / name)
        assert changes_since_suggested(work) == [f"images/{name} was added."]
        (work / "images" / name).unlink()
    (work / "labels" / f"case{ending}").unlink()
    assert changes_since_suggested(work) == [f"labels/case{ending} is missing."]


FIRST_STEPS, STEPS = 8, 10  # on an empty folder, and over an earlier suggestion


@pytest.mark.parametrize(
    ("is_first", "step"),
    [*((True, step + 1) for step in range(FIRST_STEPS)), *((False, step + 1) for step in range(STEPS))],
)
def test_an_interrupted_replacement_is_completed(work, tmp_path, monkeypatch, is_first, step):
    """Whatever step an interruption comes at, what stands there counts as untouched, and as work once it is changed."""
    if is_first:
        empty(work)
    scratch = new_suggestion(work, "second")
    with monkeypatch.context() as patch:
        interrupt_before(patch, work, step)
        with pytest.raises(KeyboardInterrupt):
            move_into_place(scratch, work)
    check_output(work)
    for file in [*work.glob("labels/*"), *work.glob("images/*")]:
        content = file.read_bytes()
        file.write_bytes(b"drawn")
        assert changes_since_suggested(work) == [f"{file.relative_to(work).as_posix()} was changed."]
        file.write_bytes(content)
    (tmp_path / "other").mkdir()
    for folder in (work, tmp_path / "other"):
        move_into_place(new_suggestion(folder, "third"), folder)
    assert content_of(work) == content_of(tmp_path / "other")


@pytest.mark.parametrize("is_first", [True, False])
def test_an_interruption_was_tried_at_every_step(work, monkeypatch, is_first):
    if is_first:
        empty(work)
    interrupt_before(monkeypatch, work, (FIRST_STEPS if is_first else STEPS) + 1)
    move_into_place(new_suggestion(work, "second"), work)


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def interrupt_before(patch, work, step):
    """Has the step of this number, of those that change the work folder itself, interrupted."""
    steps = itertools.count(1)
    for name in ("touch", "rename", "replace", "unlink"):

        def run(path, *arguments, original=getattr(Path, name), **options):
            target = Path(arguments[0]) if arguments else path
            if work in (path.parent, target.parent) and next(steps) == step:
                raise KeyboardInterrupt
            return original(path, *arguments, **options)

        patch.setattr(Path, name, run)
