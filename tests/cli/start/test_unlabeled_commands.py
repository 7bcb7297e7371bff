import shutil

import pytest
import SimpleITK
import torch
from planned_dataset import DATASET, environment_of
from unlabeled_dataset import cine, make_dataset_with_images, volume, write

from nnunet_pix2rep.cli.main import main
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.subprocesses import nnunet_environment, run_command


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    root = tmp_path_factory.mktemp("template")
    make_dataset_with_images(root)
    return root


@pytest.fixture
def root(template, tmp_path):
    shutil.copytree(template, tmp_path / "root")
    with environment_of(tmp_path / "root"):
        yield tmp_path / "root"


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "my scans"
    for seed, name in enumerate(("Müller 1.nrrd", "Müller 2.mha", "Schmidt.nii.gz"), start=10):
        write(volume(seed), folder / name)
    write(cine([20, 21]), folder / "cine.nii.gz")
    return folder


def test_from_a_folder_of_scans_to_the_pool(root, scans, capsys):
    add = ["add_unlabeled", "-d", "900", "-i", str(scans), "--patient-regex", r"([^\W_]+)_?.*"]
    assert main([*add, "--dry-run"]) == 0
    assert "4 images would be added" in capsys.readouterr().out
    assert main(add) == 0
    printed = capsys.readouterr().out
    assert "Müller 1.nrrd -> Müller_1" in printed
    assert "Next, one of:\n  nnunet_pix2rep preprocess_unlabeled -d 900 -c 2d\n" in printed
    assert "  nnunet_pix2rep preprocess_unlabeled -d 900 -c 3d_fullres -p nnUNetResEncUNetPlans\n" in printed
    preprocess = ["preprocess_unlabeled", "-d", "900", "-c", "2d", "-np", "1"]
    assert main(preprocess) == 0
    assert "5 images preprocessed, 0 were there already" in capsys.readouterr().out
    assert main(preprocess) == 0
    assert "0 images preprocessed, 5 were there already" in capsys.readouterr().out
    pool = root / "nnUNet_preprocessed" / DATASET / "nnUNetPlans_2d_unlabeled"
    assert {path.stem for path in pool.glob("*.b2nd")} == {
        "Müller_1",
        "Müller_2",
        "Schmidt",
        "cine_frame01",
        "cine_frame02",
    }


def test_the_exit_code_says_that_an_image_failed(root, scans, capsys):
    (scans / "bad.mha").write_text("no image")
    assert main(["add_unlabeled", "-d", "900", "-i", str(scans)]) == 1
    printed = capsys.readouterr().out
    assert "Not added: bad.mha: it cannot be read" in printed
    assert "4 images added" in printed
    assert "every case is taken as a patient of its own" in printed
    (root / "nnUNet_raw" / DATASET / "imagesUn" / "torn_0000.nii.gz").write_bytes(b"no image")
    assert main(["preprocess_unlabeled", "-d", "900", "-c", "2d", "-np", "1"]) == 1
    printed = capsys.readouterr().out
    assert "Failed: torn:" in printed
    assert "5 images preprocessed" in printed


def test_a_missing_folder_is_one_message(root, capsys):
    assert main(["add_unlabeled", "-d", "900", "-i", "nowhere"]) == 1
    assert main(["preprocess_unlabeled", "-d", "900", "-c", "2d"]) == 1
    errors = capsys.readouterr().err
    assert "nowhere is not a folder" in errors
    assert "add_unlabeled" in errors


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_unlabeled_images_are_pretrained_on_by_command_line(root, scans, tmp_path):
    preprocessed = root / "nnUNet_preprocessed" / DATASET
    write_json([{"train": ["case_00"], "val": ["case_04"]}], preprocessed / "splits_final.json")
    short = "num_epochs=2 num_iterations_per_epoch=2 num_val_iterations_per_epoch=1 sampling.num_points=64"
    settings = [f"pretraining.{setting}" for setting in short.split()]
    train = "nnUNetv2_train 900 2d 0 -p Pix2RepPlans -tr nnUNetTrainerPix2RepV2Pretrain -device cpu"
    log = tmp_path / "log.txt"
    run_command(("nnUNetv2_preprocess", "-d", "900", "-c", "2d", "-np", "1"), log, nnunet_environment(root))
    for arguments in (
        ["add_unlabeled", "-d", "900", "-i", str(scans)],
        ["preprocess_unlabeled", "-d", "900", "-c", "2d", "-np", "1"],
        ["plan", "-d", "900", "-c", "2d", "--set", *settings],
    ):
        assert main(arguments) == 0
    run_command(tuple(train.split()), log, nnunet_environment(root))
    printed = log.read_text(encoding="utf-8")
    assert "4 of 4 patients from nnUNetPlans_2d, 5 of 4 patients from nnUNetPlans_2d_unlabeled" in printed
    (final,) = (root / "nnUNet_results").rglob("checkpoint_final.pth")
    record = torch.load(final, weights_only=True)["pix2rep"]
    assert {"Müller_1", "cine_frame02", "case_00"} <= set(record["cases"])
    assert "case_04" not in record["cases"]
    assert read_json(preprocessed / "nnUNetPlans_2d_unlabeled.json")["images"]["Schmidt"]["frame"] is None
    assert SimpleITK.ReadImage(str(root / "nnUNet_raw" / DATASET / "imagesUn" / "cine_0000.nii.gz")).GetDimension() == 4
