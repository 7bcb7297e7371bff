from dataclasses import replace

import numpy as np
import pytest
import SimpleITK
import torch
from in_context_folders import raw_of

from nnunet_pix2rep.cli.main import main
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.in_context.classifier import InContextSettings
from nnunet_pix2rep.nnunet.in_context.propagate_series import SeriesPropagator, propagate, propagation_order

SETTINGS = InContextSettings(k=5, max_support=2000)
NUM_FRAMES, ANCHOR = 4, 2  # counted from 1
SHAPE = (4, 32, 32)


def truth_of(frame):
    """A disc that shrinks from frame to frame, with a smaller one in it."""
    y, x = np.indices(SHAPE[1:]) - 16
    radius = np.hypot(y, x)
    labels = (radius < 11 - frame).astype(np.uint8) + (radius < 5)
    return np.broadcast_to(labels, SHAPE).copy()


@pytest.fixture
def series(tmp_path):
    """A series, the labels of its second frame, and the file to write."""
    generator = np.random.default_rng(0)
    frames = []
    for frame in range(1, NUM_FRAMES + 1):
        array = truth_of(frame) + generator.normal(0.1, 0.1, SHAPE)
        frames.append(SimpleITK.GetImageFromArray(array.astype(np.float32)))
    for image in frames:
        image.SetSpacing((1.0, 1.0, 1.0))
        image.SetOrigin((3.0, -4.0, 5.0))
        image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    joined = SimpleITK.JoinSeries(frames, 0.0, 25.0)
    SimpleITK.WriteImage(joined, str(tmp_path / "series.nii.gz"))
    label = SimpleITK.GetImageFromArray(truth_of(ANCHOR))
    label.CopyInformation(frames[0])
    SimpleITK.WriteImage(label, str(tmp_path / "label.nii.gz"))
    return tmp_path / "series.nii.gz", tmp_path / "label.nii.gz", tmp_path / "out" / "labels.nii.gz"


def test_all_frames_are_segmented_in_the_geometry_of_the_series(series, pretraining, load):
    file, label, output = series
    settings = replace(SETTINGS, refine=True)
    assert propagate(load(pretraining, "hypercolumn"), [file], label, ANCHOR, output, settings) == NUM_FRAMES
    result, image = SimpleITK.ReadImage(str(output)), SimpleITK.ReadImage(str(file))
    for geometry in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(result, geometry)() == pytest.approx(getattr(image, geometry)())
    labels = SimpleITK.GetArrayFromImage(result)
    assert np.array_equal(labels[ANCHOR - 1], truth_of(ANCHOR))
    for frame in range(1, NUM_FRAMES + 1):
        found, truth = labels[frame - 1] > 0, truth_of(frame) > 0
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.7


def segmented(model, series, other_frame=None):
    """The labels of all frames, where one of the frames may hold something else."""
    file, label, output = series
    if other_frame is not None:
        image = SimpleITK.ReadImage(str(file))
        image[:, :, :, other_frame - 1] = 2.0 - image[:, :, :, other_frame - 1]
        file = file.with_name("changed.nii.gz")
        SimpleITK.WriteImage(image, str(file))
    propagate(model, [file], label, ANCHOR, output, SETTINGS)
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(output)))


@pytest.mark.parametrize(("other_frame", "affected"), [(1, {1}), (2, {1, 3, 4}), (3, {3, 4}), (4, {4})])
def test_a_frame_is_segmented_by_the_annotated_frame_and_the_one_before(
    series, pretraining, load, other_frame, affected
):
    """The annotated frame is 2: from there on to 3 and 4, and back to 1."""
    model = load(pretraining)
    before, after = segmented(model, series), segmented(model, series, other_frame)
    changed = {frame for frame in range(1, NUM_FRAMES + 1) if not np.array_equal(before[frame - 1], after[frame - 1])}
    assert changed == affected


@pytest.mark.parametrize(
    ("frame", "series_name", "label_name", "message"),
    [
        (0, "series.nii.gz", "label.nii.gz", "--frame 0 is not in the series, which has the frames 1 to 4"),
        (5, "series.nii.gz", "label.nii.gz", "--frame 5"),
        (1, "missing.nii.gz", "label.nii.gz", "There is no series"),
        (1, "series.nii.gz", "missing.nii.gz", "There is no label file"),
        (1, "label.nii.gz", "label.nii.gz", "is 3D with 1 value"),
    ],
)
def test_bad_input_is_named(frame, series_name, label_name, message, series, pretraining, load):
    folder, output = series[0].parent, series[2]
    with pytest.raises(UserError, match=message):
        propagate(load(pretraining), [folder / series_name], folder / label_name, frame, output, SETTINGS)
    assert not output.exists()


def test_a_label_of_another_geometry_and_a_wrong_number_of_channels_are_refused(series, pretraining, load):
    file, label, output = series
    model = load(pretraining)
    with pytest.raises(UserError, match="has 2 channel"):
        propagate(model, [file, file], label, ANCHOR, output, SETTINGS)
    image = SimpleITK.ReadImage(str(label))
    SimpleITK.WriteImage(image[1:], str(label))
    with pytest.raises(UserError, match=r"frame 2: its size is"):
        propagate(model, [file], label, ANCHOR, output, SETTINGS)
    with pytest.raises(UserError, match="must end with"):
        propagate(model, [file], label, ANCHOR, output.with_suffix(".txt"), SETTINGS)


def test_the_annotated_frame_lies_as_the_others_where_the_reader_turns_the_axes(series, pretraining, load):
    """The label is stored the other way round than the series, at the same place of the body."""
    file, label, output = series
    model = load(pretraining)
    model.plans_manager.plans["image_reader_writer"] = "SimpleITKIOWithReorient"
    half = SimpleITK.ReadImage(str(label))
    half[:12] = 0
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(half, "LPS"), str(label))
    propagate(model, [file], label, ANCHOR, output, SETTINGS)
    labels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(output)))
    assert np.array_equal(labels[ANCHOR - 1], SimpleITK.GetArrayFromImage(half))
    found, truth = labels[ANCHOR] > 0, truth_of(ANCHOR + 1) > 0
    assert (found & ~truth).sum() < 0.5 * truth.sum()


def test_labels_of_regions_are_those_that_are_exported(region_pretraining, load):
    """The labels 1 and 2 of the region "whole" outweigh the background together, but not each."""
    propagator = SeriesPropagator.__new__(SeriesPropagator)
    propagator.model, propagator.settings = load(region_pretraining[0]), SETTINGS
    shares = torch.tensor([[0.40, 0.70, 0.10], [0.32, 0.20, 0.20], [0.28, 0.10, 0.70]])
    assert propagator._labels(shares[:, None, None]).tolist() == [[[1, 0, 2]]]


@pytest.mark.parametrize("name", ["series.nii.gz", "label.nii.gz"])
def test_neither_the_series_nor_its_label_is_overwritten(name, series, pretraining, capsys):
    file, label, _ = series
    output = file.with_name(name)
    before = output.read_bytes()
    inputs = ["-i", str(file), "-l", str(label), "--frame", "2", "-o", str(output)]
    assert main(["propagate", str(pretraining), *inputs, "--overwrite"]) == 1
    assert "choose another file" in capsys.readouterr().err
    assert output.read_bytes() == before


@pytest.mark.parametrize(
    ("reader", "message"),
    [("SimpleITKIO", "has 4 frames or channels"), ("NibabelIO", "label.nii.gz is 4D, but the dataset's reader takes")],
)
def test_a_label_with_all_frames_is_refused(reader, message, series, pretraining, load):
    file, label, output = series
    model = load(pretraining)
    model.plans_manager.plans["image_reader_writer"] = reader
    SimpleITK.WriteImage(SimpleITK.JoinSeries([SimpleITK.ReadImage(str(label))] * NUM_FRAMES), str(label))
    with pytest.raises(UserError, match=message):
        propagate(model, [file], label, ANCHOR, output, SETTINGS)


def test_labels_that_the_reader_does_not_know_and_empty_ones_are_refused(series, pretraining, load):
    file, label, output = series
    empty = SimpleITK.ReadImage(str(label)) * 0
    for ending in ("nii.gz", "nrrd"):
        SimpleITK.WriteImage(empty, str(label.with_name(f"empty.{ending}")))
    with pytest.raises(UserError, match=r"Nothing is drawn in .*empty\.nii\.gz"):
        propagate(load(pretraining), [file], label.with_name("empty.nii.gz"), ANCHOR, output, SETTINGS)
    model = load(pretraining)
    model.plans_manager.plans["image_reader_writer"] = "NibabelIO"
    with pytest.raises(UserError, match=r"empty\.nrrd is no NIfTI file"):
        propagate(model, [file], label.with_name("empty.nrrd"), ANCHOR, output, SETTINGS)


@pytest.mark.slow
def test_the_three_commands_from_end_to_end(series, pretraining, folders, tiny_dataset, capsys):
    file, label, output = series
    pretraining = str(pretraining)
    command = ["propagate", pretraining, "-i", str(file), "-l", str(label), "--frame", "2", "-o", str(output)]
    assert main([*command, "-k", "5", "--max-support", "2000", "--refine"]) == 0
    assert "Wrote 4 frames" in capsys.readouterr().out
    assert main(command) == 0
    assert "nothing was done" in capsys.readouterr().out

    inputs = ["-s", str(raw_of(tiny_dataset) / "imagesTr"), "-l", str(folders["labels"]), "-i", str(folders["query"])]
    command = ["segment_in_context", pretraining, *inputs, "-o", str(folders["output"])]
    assert main([*command, "--class-balance", "--mirroring", "--max-support", "2000"]) == 0
    assert "Segmented 1 images" in capsys.readouterr().out
    assert main(command) == 1
    assert "other settings" in capsys.readouterr().err

    pictures = folders["output"] / "pictures"
    command = ["features", pretraining, "-i", str(folders["images"]), "-o", str(pictures), "--point", "9,9,3"]
    assert main([*command, "--raw", "nifti"]) == 0
    names = {path.name for path in pictures.iterdir()}
    assert names == {
        *(f"case_0{number}{ending}" for number in (0, 1) for ending in (".png", "_features.nii.gz")),
        "features.json",
    }


def test_frames_are_segmented_outwards_from_the_anchor():
    assert list(propagation_order(5, 2)) == [(3, 2), (4, 3), (1, 2), (0, 1)]
    assert list(propagation_order(1, 0)) == []
    for anchor in range(6):
        known = {anchor}
        for frame, previous in propagation_order(6, anchor):
            assert previous in known
            assert frame not in known
            known.add(frame)
        assert known == set(range(6))
    with pytest.raises(ValueError, match="no frame 5"):
        list(propagation_order(5, 5))
