import csv

import numpy as np
import SimpleITK

from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.annotation.suggest.grid import ScanGrid
from nnunet_pix2rep.annotation.suggest.output.viewers import ViewerPlace
from nnunet_pix2rep.annotation.suggest.output.work_files import (
    labels_drawn_in,
    move_into_place,
    write_scan,
    write_worklist,
)
from nnunet_pix2rep.annotation.suggest.scans import Scan
from nnunet_pix2rep.annotation.work_folder import SuggestedSlice
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase

LABELS = {"background": 0, "a": 1, "ignore": 2}


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


def test_labels_are_known_from_the_moment_they_stand_there(tmp_path):
    """Whatever step an interruption comes at, labels that nobody touched are never taken for drawn ones."""
    scratch, work = tmp_path / "scratch", tmp_path / "work"
    for folder in ("labels", "images"):
        (scratch / folder).mkdir(parents=True)
    (scratch / "labels" / "case.nii.gz").write_bytes(b"labels")
    for name in ("worklist.csv", "suggestion.json", "overview.html"):
        (scratch / name).write_text("")
    work.mkdir()
    move_into_place(scratch, work)
    assert labels_drawn_in(work) == []
    (work / "labels" / "new.nii.gz").write_bytes(b"of a viewer")
    assert labels_drawn_in(work) == ["new.nii.gz"]
    (work / "labels" / "new.nii.gz").unlink()
    (work / "labels" / "case.nii.gz").write_bytes(b"drawn")
    assert labels_drawn_in(work) == ["case.nii.gz"]
    (work / ".label_checksums.json").unlink()
    assert labels_drawn_in(work) == ["case.nii.gz"]
