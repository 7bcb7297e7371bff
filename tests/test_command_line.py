"""The main job as a user types it, on real data: convert, plan, preprocess, pretrain, fine-tune, predict.

One method goes all the way by commands. What the others add is trained by a process that has nnU-Net imported already
and does what the commands do (tests/benchmark/execution/test_in_process_calls.py), since starting is most of the time.
"""

import json
import shutil

import pytest
import torch
from command_line import SHORT, CommandLine
from nnssl_contract import check_contract, read_as_nnunet

from nnunet_pix2rep.benchmark.execution.in_process.worker import NnunetWorker
from nnunet_pix2rep.installation import pretraining_trainers
from nnunet_pix2rep.nnunet.checkpoints.nnssl_plan import installed_commands

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PRETRAINING = "nnUNetTrainerPix2RepPretrain"


@pytest.fixture(scope="module")
def worker():
    """Does nnU-Net's commands one after the other in one process."""
    worker = NnunetWorker()
    yield worker
    worker.close()


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


@pytest.fixture(scope="module")
def hippocampus(real_data, tmp_path_factory):
    """Eight hippocampus volumes with plans of a residual network."""
    root = tmp_path_factory.mktemp("hippocampus")
    for kind in ("imagesTr", "labelsTr"):
        (root / "source" / kind).mkdir(parents=True)
        for file in sorted((real_data / "hippocampus" / kind).iterdir())[:8]:
            shutil.copyfile(file, root / "source" / kind / file.name)
    shell = CommandLine(root)
    shell.type(f"python -m nnunet_pix2rep.dataset_conversion.Dataset504_Hippocampus -i {root / 'source'}")
    shell.type("nnUNetv2_plan_and_preprocess -d 504 -c 3d_fullres --no_pp -npfp 2")
    shell.type("nnUNetv2_plan_experiment -d 504 -pl nnUNetPlannerResEncM")
    return shell


@pytest.fixture(scope="module")
def hippocampus_pretraining(hippocampus, worker):
    """Plans and folder of a three-dimensional pretraining with a residual network."""
    plans = "Pix2RepResEncPlans"
    hippocampus.type(
        f"nnunet_pix2rep plan -d 504 -c 3d_fullres -p nnUNetResEncUNetMPlans --compact -o {plans} "
        f"--set {' '.join(SHORT)} pretraining.sampling.num_points=512"
    )
    hippocampus.type(f"nnUNetv2_preprocess -d 504 -plans_name {plans} -c 3d_fullres_compact -np 2")
    folder, _ = hippocampus.train(504, "3d_fullres_compact", 1, plans, "nnUNetTrainerPix2RepV2Pretrain", run=worker.run)
    return plans, folder


def test_three_dimensions_with_a_residual_network(hippocampus, worker, hippocampus_pretraining):
    plans, pretraining = hippocampus_pretraining
    folder, _ = hippocampus.train(
        504,
        "3d_fullres_compact",
        1,
        plans,
        "nnUNetTrainerConfiguredLength",
        f"-pretrained_weights {pretraining / 'checkpoint_final.pth'}",
        worker.run,
    )
    assert (folder / "validation" / "summary.json").is_file()


@pytest.fixture(scope="module")
def nnssl_file(hippocampus, hippocampus_pretraining):
    """The pretraining exported for nnU-Net's nnssl chain, and what the command said."""
    plans, pretraining = hippocampus_pretraining
    file = hippocampus.root / f"{plans}_nnssl.pth"
    said = hippocampus.type(f"nnunet_pix2rep export {pretraining / 'checkpoint_final.pth'} --format nnssl -o {file}")
    assert "leaves the decoder random" in said
    return file


def test_the_nnssl_export_meets_the_contract_field_by_field(hippocampus, hippocampus_pretraining, nnssl_file):
    plans, pretraining = hippocampus_pretraining
    (plans_file,) = (hippocampus.root / "nnUNet_preprocessed").glob(f"*/{plans}.json")
    check_contract(nnssl_file, json.loads(plans_file.read_text())["configurations"]["3d_fullres_compact"])
    trained = torch.load(pretraining / "checkpoint_final.pth", weights_only=True)["network_weights"]
    read = read_as_nnunet(nnssl_file).state_dict()
    assert all(torch.equal(read[key], trained[key]) for key in read if key.startswith("encoder."))


def test_an_exported_encoder_starts_another_pretraining(hippocampus, worker, hippocampus_pretraining, nnssl_file):
    plans, _ = hippocampus_pretraining
    start = hippocampus.root / f"{plans}_start.pth"
    said = hippocampus.type(f"nnunet_pix2rep import {nnssl_file} -d 504 -c 3d_fullres_compact -p {plans} -o {start}")
    assert " 0 skipped, 0 of another shape, 0 missing" in said
    folder, log = hippocampus.train(
        504, "3d_fullres_compact", 1, plans, PRETRAINING, f"-pretrained_weights {start}", worker.run
    )
    assert f"Pretrained weights from {start}" in log
    record = torch.load(folder / "checkpoint_final.pth", weights_only=True)["pix2rep"]
    assert record["started_from"]["file"] == str(start)


@pytest.mark.skipif(
    len(installed_commands()) < 3,
    reason="this nnU-Net has no commands for nnssl checkpoints (they are on its main branch)",
)
def test_nnunets_own_nnssl_chain_takes_the_export(hippocampus, nnssl_file, hippocampus_pretraining):
    plans, _ = hippocampus_pretraining
    name = f"pix2rep{plans}"
    hippocampus.type(f"nnUNetv2_plan_like_dynamic -d 504 -n {name} -pc {nnssl_file} -pl {plans} -np 2")
    hippocampus.type(f"nnUNetv2_preprocess_like_nnssl -d 504 -n {name} -pc {nnssl_file} -am like_pretrained -np 2")
    preprocessed = hippocampus.root / "nnUNet_preprocessed"
    exported = torch.load(nnssl_file, weights_only=True)
    for file in (
        *preprocessed.glob(f"*/ptPlans_dynamic__{name}.json"),
        *preprocessed.glob(f"*/ptPlans__{name}__*.json"),
    ):
        info = json.loads(file.read_text())["pretrain_info"]
        for key in ("key_to_encoder", "key_to_stem", "keys_to_in_proj", "key_to_lpe"):
            assert info[key] == exported["nnssl_adaptation_plan"][key]
    (adapted,) = preprocessed.glob(f"*/ptPlans__{name}__*.json")
    code = (
        "import sys, torch; from nnunetv2.run.run_training import get_trainer_from_args as make; "
        "trainer = make('504', '3d_fullres', 0, 'PretrainedTrainer', sys.argv[1], device=torch.device('cpu')); "
        "trainer.initialize(); torch.save(trainer.network.state_dict(), sys.argv[2])"
    )
    script, loaded = hippocampus.root / "initialize.py", hippocampus.root / f"{name}.pth"
    script.write_text(code)
    hippocampus.type(f"python {script} {adapted.stem} {loaded}")
    weights = torch.load(loaded, weights_only=True)
    assert all(torch.equal(weights[key], value) for key, value in exported["network_weights"].items())


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
