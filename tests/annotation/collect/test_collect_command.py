"""The command line, and datasets of 2D images."""

import shutil

import numpy as np
import pytest
import SimpleITK
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from tiny_training import DATASET, PLANS

from nnunet_pix2rep.cli.main import main
from nnunet_pix2rep.files import read_json, write_json

CHOSEN = {"case_00": [6], "case_03": [3, 7]}


def test_it_says_what_was_taken_and_what_comes_next(scans, capsys, monkeypatch):
    monkeypatch.setattr("nnunet_pix2rep.devices.usable_devices", lambda: ("cpu",))
    scans.prepare(CHOSEN)
    assert main(["collect", "-d", "901", "-i", str(scans.labels), "--dry-run"]) == 0
    assert "3 slices of 2 cases can be taken" in capsys.readouterr().out
    assert main(["collect", "-d", "901", "-i", str(scans.labels)]) == 0
    printed = capsys.readouterr().out
    assert "case_03: slice 3, 7\n" in printed
    assert f"{PLANS}_2d: 2 case(s) preprocessed" in printed
    assert "3 slices of 2 cases taken, 2 cases with new labels" in printed
    assert f"Next: nnUNetv2_train 901 2d all -tr nnUNetTrainerPix2RepV2 -p {PLANS} -device cpu\n" in printed
    name = f"nnUNetTrainerPix2RepPretrain__{PLANS}__2d"
    final = scans.root / "nnUNet_results" / DATASET / name / "fold_all" / "checkpoint_final.pth"
    final.parent.mkdir(parents=True)
    final.touch()
    assert main(["collect", "-d", "901", "-i", str(scans.labels)]) == 0
    printed = capsys.readouterr().out
    assert "case_03: slice 3, 7, nothing new" in printed
    assert f"Next: nnUNetv2_train 901 2d all -tr nnUNetTrainerPix2RepFinetune -p {PLANS}" in printed


def test_sparse_labels_without_plans_need_collect_again_after_nnunets_preprocessing(scans, capsys):
    scans.prepare(CHOSEN)
    shutil.rmtree(scans.preprocessed)
    assert main(["collect", "-d", "901", "-i", str(scans.labels)]) == 0
    next_command = "Next: nnUNetv2_plan_and_preprocess -d 901, then nnunet_pix2rep collect -d 901\n"
    assert next_command in capsys.readouterr().out


def test_a_refusal_ends_with_code_1_and_the_reasons(scans, capsys):
    scans.suggest(CHOSEN)
    assert main(["collect", "-d", "901", "-i", str(scans.labels)]) == 1
    assert "case_03.nii.gz, slice 3, 7: nothing is drawn" in capsys.readouterr().err


def test_without_a_folder_it_preprocesses_what_was_collected(scans, capsys):
    assert main(["collect", "-d", "901"]) == 1
    assert "has no partly annotated case" in capsys.readouterr().err
    scans.prepare(CHOSEN)
    scans.collect()
    assert main(["collect", "-d", "901"]) == 0
    printed = capsys.readouterr().out
    assert f"{PLANS}_2d: 0 case(s) preprocessed" in printed
    assert f"Next, one of:\n  nnUNetv2_train 901 2d all -tr nnUNetTrainerPix2RepV2 -p {PLANS}" in printed


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A dataset of 2D PNG images without labels, and a folder of drawings."""
    raw = tmp_path / "nnUNet_raw" / DATASET
    (raw / "imagesUn").mkdir(parents=True)
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        monkeypatch.setenv(name, str(tmp_path / name))
    labels = {"background": 0, "cell": 1, "ignore": 2}
    content = {"channel_names": {"0": "grey"}, "labels": labels, "numTraining": 0, "file_ending": ".png"}
    write_json(content, raw / "dataset.json")
    drawings = {}
    (tmp_path / "labels").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 200, (20, 24)).astype(np.uint8)
        write_picture(pixels, raw / "imagesUn" / f"cells_{number}_0000.png")
        drawings[f"cells_{number}"] = (pixels > 100).astype(np.uint8)
    return raw, drawings


def write_picture(pixels, path):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels), str(path))


def test_2d_images(pictures, capsys):
    raw, drawings = pictures
    for case in ("cells_0", "cells_2"):
        write_picture(drawings[case], raw.parents[1] / "labels" / f"{case}.png")
    assert main(["collect", "-d", "901", "-i", str(raw.parents[1] / "labels")]) == 0
    printed = capsys.readouterr().out
    assert "2 slices of 2 cases taken" in printed
    assert "Next: nnUNetv2_plan_and_preprocess -d 901\n" in printed
    for case in ("cells_0", "cells_2"):
        taken, _ = NaturalImage2DIO().read_seg(str(raw / "labelsTr" / f"{case}.png"))
        np.testing.assert_array_equal(taken[0, 0], drawings[case])
    assert sorted(path.name for path in (raw / "imagesTr").iterdir()) == ["cells_0_0000.png", "cells_2_0000.png"]
    assert read_json(raw / "dataset.json")["numTraining"] == 2


def test_2d_images_nobody_has_drawn_in(pictures, capsys):
    raw, drawings = pictures
    write_picture(drawings["cells_0"] * 0, raw.parents[1] / "labels" / "cells_0.png")
    assert main(["collect", "-d", "901", "-i", str(raw.parents[1] / "labels")]) == 1
    assert "cells_0.png, slice 0: nothing is drawn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cells_0.jpg", "JPEG changes the numbers of labels: save it as PNG"),
        ("cells_0.png", "it holds several layers or colors: save it as one label map, in gray"),
    ],
)
def test_2d_labels_that_a_drawing_program_saved_as_pictures(pictures, capsys, name, reason):
    raw, drawings = pictures
    drawing = drawings["cells_0"]
    colors = np.stack([drawing, drawing * 0, drawing * 0], axis=-1)
    image = SimpleITK.GetImageFromArray(drawing if name.endswith("jpg") else colors, isVector=name.endswith("png"))
    SimpleITK.WriteImage(image, str(raw.parents[1] / "labels" / name))
    assert main(["collect", "-d", "901", "-i", str(raw.parents[1] / "labels")]) == 1
    assert f"{name}: {reason}" in capsys.readouterr().err
    assert not (raw / "labelsTr").exists()
