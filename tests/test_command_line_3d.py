"""Three dimensions with a residual network, and nnU-Net's nnssl chain, on real data as a user types it."""

import json
import shutil

import pytest
import torch
from command_line import SHORT, CommandLine
from nnssl_contract import check_contract, read_as_nnunet

from nnunet_pix2rep.nnunet.checkpoints.nnssl_plan import installed_commands

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


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
        504, "3d_fullres_compact", 1, plans, "nnUNetTrainerPix2RepPretrain", f"-pretrained_weights {start}", worker.run
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
