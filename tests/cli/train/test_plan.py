import argparse
import shlex
import shutil

import pytest
from nnunetv2.experiment_planning import plan_and_preprocess_entrypoints
from planned_dataset import environment_of, make_planned_dataset

from nnunet_pix2rep.cli.train import plan
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.annotation_record import AnnotatedCase, AnnotationRound, write_annotations


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("planned")
    folder = make_planned_dataset(root, shape=(10, 160, 160))
    with environment_of(root):
        yield folder


def run(command):
    parser = argparse.ArgumentParser()
    plan.add_arguments(parser)
    return plan.run(parser.parse_args(shlex.split(command)))


def test_plans_are_written_and_the_next_commands_fit_nnunet(dataset, capsys, monkeypatch):
    (dataset / "nnUNetPlans_2d").mkdir()
    monkeypatch.setattr("nnunet_pix2rep.devices.usable_devices", lambda: ("cpu",))
    capsys.readouterr()
    assert run("-d 900 -c 2d -o My --set pretraining.seed=1 --set pretraining.num_epochs=2 --compact") == 0
    printed = capsys.readouterr().out
    block = read_json(dataset / "My.json")["configurations"]["2d_compact"]["pix2rep"]
    assert block == {"pretraining": {"seed": 1, "num_epochs": 2}, "finetuning": {"backbone_lr": 0.003}}
    ours = "pretraining.seed = 1, pretraining.num_epochs = 2"
    assert f"Settings of 2d: {ours}\n" in printed
    assert f"Settings of 2d_compact: finetuning.backbone_lr = 0.003, {ours}\n" in printed
    assert "\nthen one of:\n  nnUNetv2_train" in printed
    commands = [line.strip() for line in printed.splitlines() if line.startswith("  nnUNetv2_")]
    assert commands[1:] == [
        f"nnUNetv2_train 900 {configuration} 0 -p My -tr nnUNetTrainerPix2RepPretrain -device cpu"
        for configuration in ("2d", "2d_compact")
    ]

    # The data of 2d is there already, so only the compact configuration is preprocessed; nnU-Net parses the command.
    called = {}
    monkeypatch.setattr(
        plan_and_preprocess_entrypoints,
        "preprocess",
        lambda datasets, plans, configurations, **_: called.update(of=(datasets, plans, configurations)),
    )
    monkeypatch.setattr("sys.argv", shlex.split(commands[0]))
    plan_and_preprocess_entrypoints.preprocess_entry()
    assert called["of"] == ([900], "My", ["2d_compact"])


def test_missing_data_is_to_be_preprocessed(dataset, capsys):
    assert run("-d 900 -c 3d_fullres") == 0
    printed = capsys.readouterr().out
    assert "nnUNetv2_preprocess -d 900 -plans_name Pix2RepPlans -c 3d_fullres\n" in printed
    assert "preprocess_unlabeled" not in printed
    assert "one of" not in printed


def test_scans_without_labels_and_annotated_slices_have_commands_of_their_own(dataset, tmp_path, capsys, monkeypatch):
    shutil.copytree(dataset.parents[1], tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "nnUNet_preprocessed" / dataset.name
    shutil.rmtree(folder / "nnUNetPlans_2d", ignore_errors=True)  # another test's
    monkeypatch.setattr("nnunet_pix2rep.devices.usable_devices", lambda: ("cpu", "cuda"))
    scan = tmp_path / "nnUNet_raw" / folder.name / "imagesUn" / "new_0000.nii.gz"
    scan.parent.mkdir()
    scan.touch()
    with environment_of(tmp_path):
        assert run("-d 900 -c 2d --compact --overwrite") == 0
        printed = capsys.readouterr().out
        for configuration in ("2d", "2d_compact"):
            assert f"  nnUNetv2_preprocess -d 900 -plans_name Pix2RepPlans -c {configuration}\n" in printed
            assert f"  nnunet_pix2rep preprocess_unlabeled -d 900 -p Pix2RepPlans -c {configuration}\n" in printed
            assert f"  nnUNetv2_train 900 {configuration} all -p Pix2RepPlans -tr nnUNetTrainerPix2RepV2\n" in printed
        assert "collect" not in printed
        write_annotations([AnnotationRound(None, {"case_00": AnnotatedCase(0, [3], "digest")})], folder)
        assert run("-d 900 -c 2d --compact --overwrite") == 0
        assert "  nnunet_pix2rep collect -d 900\n" in capsys.readouterr().out
