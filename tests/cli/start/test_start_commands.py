"""new_dataset and plan_unlabeled as a user types them."""

import multiprocessing

import nnunetv2.utilities.utils
import numpy as np
import pytest
import SimpleITK
import torch
from planned_dataset import environment_of
from tiny_training import ThreadContext
from unlabeled_dataset import cine, names_in, volume, write

from nnunet_pix2rep.annotation.start import fingerprint
from nnunet_pix2rep.cli.main import main
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.subprocesses import nnunet_environment, run_command

IGNORE = 3
PRETRAINING = "nnUNetTrainerPix2RepV2Pretrain"


@pytest.fixture
def root(tmp_path):
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (tmp_path / "nnunet" / name).mkdir(parents=True)
    with environment_of(tmp_path / "nnunet"):
        yield tmp_path / "nnunet"


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "my scans"
    for seed, name in enumerate(("anna 1.nrrd", "anna 2.mha", "ben.nii.gz"), start=10):
        write(volume(seed), folder / name)
    write(cine([20, 21]), folder / "cine.nii.gz")
    return folder


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_context", lambda _method=None: ThreadContext)
    monkeypatch.setattr(nnunetv2.utilities.utils, "Pool", lambda processes: ThreadContext.Pool(1))
    monkeypatch.setattr(fingerprint, "NUM_VOXELS", 3e4)


def new_dataset(scans, *options):
    return main(["new_dataset", "-i", str(scans), "-d", "512", "-n", "MyHearts", "--labels", "LV", "RV", *options])


def plan(*options):
    return main(["plan_unlabeled", "-d", "512", "-c", "2d", "-np", "1", *options])


def test_each_command_names_the_next(root, scans, capsys, in_this_process):
    assert new_dataset(scans) == 0
    printed = capsys.readouterr().out
    assert "Labels: background 0, LV 1, RV 2, ignore 3" in printed
    assert "Channels: MRI (the default: give --channels CT" in printed
    assert "Next: nnunet_pix2rep plan_unlabeled -d 512 -c 2d   (or -c 3d_fullres" in printed
    assert plan() == 0
    printed = capsys.readouterr().out
    assert "5 images preprocessed" in printed
    assert "those of the body" in printed
    assert "nothing needs to be planned again when labels come" in printed
    assert "  nnunet_pix2rep suggest -d 512 -c 2d --slices 20 -o to_annotate\n" in printed
    assert "  nnUNetv2_train 512 2d all -tr nnUNetTrainerPix2RepV2Pretrain" in printed
    assert plan() == 0
    assert "Kept the plans that are there" in capsys.readouterr().out
    assert main(["plan", "-d", "512", "-c", "2d", "--compact"]) == 0
    printed = capsys.readouterr().out
    assert "  nnunet_pix2rep preprocess_unlabeled -d 512 -p Pix2RepPlans -c 2d_compact\n" in printed
    assert "preprocess_unlabeled -d 512 -p Pix2RepPlans -c 2d\n" not in printed  # done
    assert "  nnunet_pix2rep suggest -d 512 -c 2d_compact -p Pix2RepPlans --slices 20" in printed
    assert "  nnUNetv2_train 512 2d_compact all -p Pix2RepPlans -tr nnUNetTrainerPix2RepV2Pretrain" in printed


def test_ct_is_told_from_mri_by_its_values_and_replanning_by_its_name(root, scans, capsys, in_this_process):
    (scans / "cine.nii.gz").unlink()
    for file in scans.iterdir():
        write(SimpleITK.ReadImage(str(file)) - 900, file)
    assert new_dataset(scans) == 0
    assert plan("--no_pp") == 0
    assert "Warning: channel 0 has values below -500, as only CT has, but is called MRI" in capsys.readouterr().out
    (raw,) = (root / "nnUNet_raw").iterdir()
    write_json(read_json(raw / "dataset.json") | {"channel_names": {"0": "CT"}}, raw / "dataset.json")
    assert plan("--no_pp", "--replan") == 0
    printed = capsys.readouterr().out
    assert "Warning" not in printed
    assert "plan_unlabeled -d 512 -c 2d --replan -overwrite_plans_name nnUNetPlans2" in printed
    assert "  nnunet_pix2rep preprocess_unlabeled -d 512 -c 2d\n" in printed


def test_the_exit_code_says_that_a_scan_was_left_out(root, scans, capsys, in_this_process):
    (scans / "bad.mha").write_text("no image")
    assert new_dataset(scans, "--dry-run") == 1
    assert "nothing was written" in capsys.readouterr().out
    assert new_dataset(scans) == 1
    assert "Not added: bad.mha: it cannot be read" in capsys.readouterr().out
    (raw,) = (root / "nnUNet_raw").iterdir()
    (raw / "imagesUn" / "torn_0000.nii.gz").write_bytes(b"no image")
    assert plan() == 1
    printed = capsys.readouterr().out
    assert "Left out of the fingerprint: torn:" in printed
    assert "Fingerprint of 4 scans" in printed


def test_bad_input_is_one_message(root, scans, capsys):
    assert new_dataset(scans / "nowhere") == 1
    assert new_dataset(scans, "background") == 1
    assert plan() == 1
    errors = capsys.readouterr().err
    assert errors.count("error:") == 3
    assert names_in(root / "nnUNet_raw") == []


def annotate(raw, case):
    """One slice of one scan, as an annotator would, and the scan among the labeled ones."""
    image = raw / "imagesTr" / f"{case}_0000.nii.gz"
    (raw / "imagesUn" / image.name).replace(image)
    scan = SimpleITK.ReadImage(str(image))
    labels = np.full(scan.GetSize()[::-1], IGNORE, np.uint8)
    labels[2] = SimpleITK.GetArrayFromImage(scan)[2] > 150
    label = SimpleITK.GetImageFromArray(labels)
    label.CopyInformation(scan)
    write(label, raw / "labelsTr" / f"{case}.nii.gz")
    write_json(read_json(raw / "dataset.json") | {"numTraining": 1}, raw / "dataset.json")


def test_after_planning_again_partly_annotated_cases_are_preprocessed_by_collect(root, scans, capsys, in_this_process):
    assert new_dataset(scans) == 0
    (raw,) = (root / "nnUNet_raw").iterdir()
    annotate(raw, "ben")
    assert plan("--no_pp") == 0
    lines = capsys.readouterr().out.splitlines()
    place = lines.index("  nnUNetv2_preprocess -d 512 -plans_name nnUNetPlans -c 2d")
    assert lines[place + 1].startswith("  nnunet_pix2rep collect -d 512")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_scans_alone_to_a_fine_tuned_model_by_command_line(root, scans, tmp_path):
    log, environment = tmp_path / "log.txt", nnunet_environment(root)

    def run(text, *more):
        run_command((*text.split(), *more), log, environment)

    short = "num_epochs=1 num_iterations_per_epoch=2 num_val_iterations_per_epoch=1"
    settings = [f"{part}.{value}" for part in ("pretraining", "finetuning") for value in short.split()]
    run("nnunet_pix2rep new_dataset -d 512 -n MyHearts --labels LV RV -i", str(scans))
    run("nnunet_pix2rep plan_unlabeled -d 512 -c 2d -np 2")
    run("nnunet_pix2rep plan -d 512 -c 2d --compact --set pretraining.sampling.num_points=64", *settings)
    run("nnunet_pix2rep preprocess_unlabeled -d 512 -c 2d_compact -p Pix2RepPlans -np 2")
    run(f"nnUNetv2_train 512 2d_compact all -p Pix2RepPlans -tr {PRETRAINING} -device cpu")
    (results,) = (root / "nnUNet_results").iterdir()
    weights = results / f"{PRETRAINING}__Pix2RepPlans__2d_compact" / "fold_all" / "checkpoint_final.pth"
    assert torch.load(weights, weights_only=True)["pix2rep"]["cases"] == [
        *("anna_1", "anna_2", "ben", "cine_frame01", "cine_frame02")
    ]
    (raw,) = (root / "nnUNet_raw").iterdir()
    plans = (root / "nnUNet_preprocessed" / raw.name / "Pix2RepPlans.json").read_text()
    annotate(raw, "ben")
    run("nnUNetv2_preprocess -d 512 -plans_name Pix2RepPlans -c 2d_compact -np 1")
    train = "nnUNetv2_train 512 2d_compact all -p Pix2RepPlans -device cpu -tr"
    run(f"{train} nnUNetTrainerPix2RepFinetune")
    run(f"{train} nnUNetTrainerConfiguredLength -pretrained_weights", str(weights))
    for trainer in ("nnUNetTrainerPix2RepFinetune", "nnUNetTrainerConfiguredLength"):
        assert (results / f"{trainer}__Pix2RepPlans__2d_compact" / "fold_all" / "validation" / "summary.json").is_file()
    assert (root / "nnUNet_preprocessed" / raw.name / "Pix2RepPlans.json").read_text() == plans
    run("nnunet_pix2rep doctor -d 512 -c 2d_compact -p Pix2RepPlans -f all")
