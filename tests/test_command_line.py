"""The main job as a user types it, on real data: convert, plan, preprocess, pretrain, fine-tune, predict.

One method goes all the way by commands. What the others add is trained by a process that has nnU-Net imported already
and does what the commands do (tests/benchmark/execution/test_in_process_calls.py), since starting is most of the time.
"""

import json
import shutil

import pytest
import torch
from command_line import SHORT, CommandLine

from nnunet_pix2rep.installation import pretraining_trainers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PRETRAINING = "nnUNetTrainerPix2RepPretrain"


@pytest.fixture(scope="module")
def heart(real_data, tmp_path_factory):
    """Six Sunnybrook patients, converted, planned, preprocessed compactly and split, all by command line."""
    root = tmp_path_factory.mktemp("heart")
    for kind in ("Images", "Labels"):
        part = real_data / "sunnybrook" / kind / "Sunnybrook_Part1"
        patients = sorted({file.name.split("-IM-")[0] for file in part.iterdir()})[:6]
        for file in part.iterdir():
            if file.name.split("-IM-")[0] in patients:
                target = root / "source" / kind / part.name / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
    shell = CommandLine(root)
    shell.type(f"python -m nnunet_pix2rep.dataset_conversion.Dataset501_Sunnybrook -i {root / 'source'}")
    shell.type("nnUNetv2_plan_and_preprocess -d 501 -c 2d --no_pp --verify_dataset_integrity -npfp 2")
    shell.type(f"nnunet_pix2rep plan -d 501 -c 2d --compact -o Pix2RepPlans --set {' '.join(SHORT)}")
    shell.type("nnUNetv2_preprocess -d 501 -plans_name Pix2RepPlans -c 2d_compact -np 2")
    shell.type("nnunet_pix2rep split -d 501 --shots 1 --seeds 2 --validation 2")
    return shell


@pytest.fixture(scope="module")
def heart_pretraining(heart):
    """Result folder of a pretraining."""
    return heart.train(501, "2d_compact", 0, "Pix2RepPlans", PRETRAINING)[0]


def test_pretraining_writes_what_nnunet_users_expect(heart_pretraining):
    names = {file.name for file in heart_pretraining.iterdir()}
    assert {
        "checkpoint_best.pth",
        "checkpoint_final.pth",
        "progress.png",
        "debug.json",
        "pretraining_summary.json",
    } <= names
    assert not {"checkpoint_latest.pth", "checkpoint_previous.pth", "validation"} & names
    summary = json.loads((heart_pretraining / "pretraining_summary.json").read_text())
    assert len(summary["logging"]["train_losses"]) == len(summary["logging"]["val_losses"]) == 2


def test_pretraining_leaves_the_patients_of_the_validation_set_out(heart, heart_pretraining):
    (splits_file,) = (heart.root / "nnUNet_preprocessed").glob("*/splits_final.json")
    (patients_file,) = (heart.root / "nnUNet_raw").glob("*/patients.json")
    patient_of = {case: entry["patient"] for case, entry in json.loads(patients_file.read_text()).items()}
    validation = {patient_of[case] for case in json.loads(splits_file.read_text())[0]["val"]}
    seen = {
        patient_of[case] for case in json.loads((heart_pretraining / "pretraining_summary.json").read_text())["cases"]
    }
    assert len(validation) == 2
    assert len(seen) == 4
    assert not validation & seen


def test_the_checkpoint_meets_the_hand_over_contract(heart_pretraining):
    checkpoint = torch.load(heart_pretraining / "checkpoint_final.pth", weights_only=True)
    weights = checkpoint["network_weights"]
    assert all(value.device.type == "cpu" and torch.isfinite(value).all() for value in weights.values())
    assert not any(key.startswith(("module.", "_orig_mod.")) for key in weights)
    record = checkpoint["pix2rep"]
    assert record["format_version"] == 1
    assert record["dataset_name"] == "Dataset501_Sunnybrook"
    assert record["plans_name"] == "Pix2RepPlans"
    assert {"configuration", "config", "cases", "package_versions", "diagnostics"} <= record.keys()


def test_stock_fine_tuning_and_stock_prediction(heart, heart_pretraining, tmp_path):
    weights = heart_pretraining / "checkpoint_final.pth"
    folder, log = heart.train(
        501, "2d_compact", 0, "Pix2RepPlans", "nnUNetTrainerConfiguredLength", f"-pretrained_weights {weights}"
    )
    assert f"Loading pretrained weights from file  {weights}" in log
    assert (folder / "validation" / "summary.json").is_file()
    images = tmp_path / "images"
    images.mkdir()
    for image in sorted((heart.root / "nnUNet_raw").glob("*/imagesTr/*.nii.gz"))[:2]:
        shutil.copy(image, images)
    heart.type(
        f"nnUNetv2_predict -i {images} -o {tmp_path / 'out'} -d 501 -c 2d_compact -p Pix2RepPlans -f 0 "
        "-tr nnUNetTrainerConfiguredLength -device cpu -npp 1 -nps 1 --disable_tta"
    )
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 2


@pytest.mark.parametrize("trainer", sorted({*pretraining_trainers()} - {PRETRAINING}))
def test_every_other_pretraining_trains_and_hands_over(heart, worker, trainer):
    folder, _ = heart.train(501, "2d_compact", 1, "Pix2RepPlans", trainer, run=worker.run)
    checkpoint = torch.load(folder / "checkpoint_final.pth", weights_only=True)
    assert checkpoint["pix2rep"]["trainer"] == trainer
    assert all(torch.isfinite(value).all() for value in checkpoint["network_weights"].values())
    options = f"-pretrained_weights {folder / 'checkpoint_final.pth'}"
    _, log = heart.train(501, "2d_compact", 1, "Pix2RepPlans", "nnUNetTrainerPix2RepFinetune", options, worker.run)
    assert "0 of another shape, 0 missing" in log


def test_a_finished_pretraining_is_summarized_again_by_val(heart, worker, heart_pretraining):
    summary = heart_pretraining / "pretraining_summary.json"
    before = json.loads(summary.read_text())
    summary.unlink()
    heart.train(501, "2d_compact", 0, "Pix2RepPlans", PRETRAINING, "--val", worker.run)
    assert json.loads(summary.read_text()) == before


@pytest.mark.parametrize(
    ("variable", "command", "message"),
    [
        ("nnUNet_preprocessed", "nnunet_pix2rep plan -d 501 -c 2d -o Pix2RepPlans", "nnUNet_preprocessed is not set"),
        (
            "nnUNet_extTrainer",
            "nnUNetv2_train 501 2d 0 -tr nnUNetTrainerPix2RepPretrain -device cpu",
            "nnUNet_extTrainer",
        ),
    ],
)
def test_a_missing_environment_variable_is_named(tmp_path, variable, command, message):
    shell = CommandLine(tmp_path)
    del shell.environment[variable]
    with pytest.raises(Exception, match=message):
        shell.type(command)
