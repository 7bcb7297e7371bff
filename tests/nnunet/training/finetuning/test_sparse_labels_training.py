"""Every trainer on labels that are to be ignored everywhere but in a slice or two of each case."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from tiny_training import CASES, ORDINARY_LABELS, REGIONS, make_tiny_dataset, make_trainer, prepare_for_training

from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer

IGNORE = 3
EMPTY = ("case_01", "case_05")  # of training and of validation: the slice shows nothing of the structures
ONE_EPOCH = {"pretraining": {"num_epochs": 1}, "finetuning": {"num_epochs": 1}}
ANNOTATED = {"case_00": [6], "case_01": [0], "case_02": [5, 7], "case_03": [11], "case_04": [6], "case_05": [0]}
PRETRAINED_TRAINERS = (
    "nnUNetTrainerPix2RepFinetune",
    "nnUNetTrainerPix2RepMeanTeacher",
    "nnUNetTrainerPix2RepLinearProbe",
)


@pytest.fixture(scope="module", params=["labels", "regions"])
def sparse_dataset(request, tmp_path_factory):
    labels = {"labels": ORDINARY_LABELS, "regions": REGIONS}[request.param]
    return make_tiny_dataset(
        tmp_path_factory.mktemp("sparse"),
        labels=labels | {"ignore": IGNORE},
        configurations=("2d", "3d_fullres"),
        ignored_value=IGNORE,
        annotated_slices=ANNOTATED,
        empty_cases=EMPTY,
    )


@pytest.fixture
def sparse(sparse_dataset, tmp_path, monkeypatch):
    prepare_for_training(monkeypatch, sparse_dataset, tmp_path)
    return sparse_dataset


def train(folder, name, fold=0, configuration="2d"):
    trainer = make_trainer(recursive_find_trainer_class_by_name(name), folder, fold, configuration, **ONE_EPOCH)
    trainer.run_training()
    trainer.perform_actual_validation()
    return trainer


def masked_dice(trainer, case, folder):
    """Dice of each label or region over the annotated voxels alone; NaN where nothing is there and nothing found."""
    reference, _ = SimpleITKIO().read_seg(str(folder / "gt_segmentations" / f"{case}.nii.gz"))
    predicted, _ = SimpleITKIO().read_seg(str(Path(trainer.output_folder) / "validation" / f"{case}.nii.gz"))
    annotated = reference != IGNORE
    manager = trainer.label_manager
    values = {}
    for label in manager.foreground_regions if manager.has_regions else manager.foreground_labels:
        first, second = (np.isin(array[annotated], label) for array in (reference, predicted))
        size = first.sum() + second.sum()
        values[str(label)] = 2 * (first & second).sum() / size if size else float("nan")
    return values


def check(trainer, folder):
    checkpoint = load_checkpoint_file(Path(trainer.output_folder) / "checkpoint_final.pth")
    assert all(weights.isfinite().all() for weights in checkpoint["network_weights"].values())
    assert np.isfinite(checkpoint["logging"]["train_losses"]).all()
    summary = read_json(Path(trainer.output_folder) / "validation" / "summary.json")
    assert len(summary["metric_per_case"]) == (len(CASES) if trainer.fold == "all" else 2)
    for entry in summary["metric_per_case"]:
        case = Path(entry["reference_file"]).name.removesuffix(".nii.gz")
        found = {label: values["Dice"] for label, values in entry["metrics"].items()}
        np.testing.assert_equal(found, pytest.approx(masked_dice(trainer, case, folder), nan_ok=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sparse_dataset", "name", "configuration"),
    [
        ("labels", "nnUNetTrainerConfiguredLength", "2d"),
        ("regions", "nnUNetTrainerPix2RepFinetuneScratch", "3d_fullres"),
        ("labels", "nnUNetTrainerPix2RepMeanTeacherScratch", "2d"),  # its softmax
        ("regions", "nnUNetTrainerPix2RepMeanTeacherScratch", "2d"),  # its sigmoid
    ],
    indirect=["sparse_dataset"],
)
def test_trains_and_validates_on_the_annotated_voxels(sparse, name, configuration):
    check(train(sparse, name, configuration=configuration), sparse)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sparse_dataset", "configuration", "fold"),
    [("labels", "2d", "all"), ("regions", "3d_fullres", 0)],
    indirect=["sparse_dataset"],
)
def test_trains_from_a_pretraining(sparse, configuration, fold):
    pretraining = recursive_find_trainer_class_by_name("nnUNetTrainerPix2RepPretrain")
    make_trainer(pretraining, sparse, fold, configuration, **ONE_EPOCH).run_training()
    for name in PRETRAINED_TRAINERS:
        check(train(sparse, name, fold, configuration), sparse)


@pytest.mark.slow
@pytest.mark.parametrize("sparse_dataset", ["labels"], indirect=True)
def test_both_stages_in_one_command(sparse):
    check(train(sparse, "nnUNetTrainerPix2Rep", fold=2), sparse)


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
@pytest.mark.parametrize("oversampling", [0.0, 1.0])
def test_every_patch_that_nnunet_draws_shows_annotated_voxels(sparse, configuration, oversampling):
    trainer = make_trainer(nnUNetTrainer, sparse, "all", configuration)
    trainer.initialize()
    dataset = trainer.get_tr_and_val_datasets()[0]
    size = trainer.configuration_manager.patch_size
    loader = nnUNetDataLoader(dataset, 2, size, size, trainer.label_manager, oversampling)
    drawn = dict.fromkeys(CASES, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nnU-Net warns where it finds no annotated voxel
        for _ in range(60):
            batch = loader.generate_train_batch()
            for case, target in zip(batch["keys"], batch["target"], strict=True):
                inside = (target != IGNORE) & (target != -1)  # what lies outside the image is -1
                assert inside.any(), case
                drawn[case] += 1
    assert all(drawn.values())


@pytest.mark.parametrize(("configuration", "least"), [("2d", 1.0), ("3d_fullres", 0.8)])
def test_augmented_patches_still_show_annotated_voxels(sparse, configuration, least):
    """In 3D nnU-Net's zooming out of a single slice loses it now and then; such a patch adds nothing to the loss."""
    trainer = make_trainer(nnUNetTrainer, sparse, "all", configuration)
    trainer.initialize()
    batches, _ = trainer.get_dataloaders()
    shown = []
    for _ in range(40):
        target = next(batches)["target"][0]
        ignored = target[:, -1].bool() if trainer.label_manager.has_regions else target[:, 0] == IGNORE
        shown += (~ignored).flatten(1).any(1).tolist()
    assert np.mean(shown) >= least


def test_what_is_ignored_does_not_move_the_weights(sparse):
    """The gradient with respect to the output is nothing but zero outside the annotated voxels, at every level."""
    trainer = make_trainer(nnUNetTrainer, sparse, "all", "3d_fullres")
    trainer.initialize()
    batch = next(trainer.get_dataloaders()[0])
    outputs = [output.detach().requires_grad_(True) for output in trainer.network(batch["data"])]
    trainer.loss(outputs, batch["target"]).backward()
    moved = 0
    for output, target in zip(outputs, batch["target"], strict=True):
        ignored = target[:, -1:].bool() if trainer.label_manager.has_regions else target == IGNORE
        if output.grad is not None:
            assert (output.grad[ignored.expand_as(output)] == 0).all()
            moved += int((output.grad != 0).any())
    assert moved


def test_a_mean_teacher_learns_from_the_other_slices_of_annotated_cases(sparse):
    name = "nnUNetTrainerPix2RepMeanTeacherScratch"
    trainer = make_trainer(recursive_find_trainer_class_by_name(name), sparse, "all")
    assert {case.identifier for case in trainer.get_unlabeled_cases()} == set(CASES)
    trainer = make_trainer(recursive_find_trainer_class_by_name(name), sparse, 0)
    assert {case.identifier for case in trainer.get_unlabeled_cases()} == set(CASES[:4])


class FromScratch(Pix2RepFinetuneTrainer):
    needs_pretrained_weights = False


def test_epochs_without_any_foreground_are_left_out_of_the_running_average(sparse):
    """nnU-Net's average would stay undefined, and the best checkpoint would never be written again."""
    trainer = make_trainer(FromScratch, sparse, "all")
    trainer.on_train_start()
    for epoch, dice in enumerate([None, 0.5, None, 0.75]):
        trainer.current_epoch = epoch
        counts = np.array([0.0, 0.0] if dice is None else [dice, dice], dtype=np.float32)
        rest = np.array([0.0, 0.0] if dice is None else [1 - dice, 1 - dice], dtype=np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            trainer.on_validation_epoch_end([{"tp_hard": counts, "fp_hard": rest, "fn_hard": rest, "loss": 0.0}])
    logged = trainer.logger.local_logger.my_fantastic_logging
    assert np.isnan(logged["mean_fg_dice"]).tolist() == [True, False, True, False]
    assert logged["ema_fg_dice"] == pytest.approx([0, 0.05, 0.05, 0.12])


def test_few_shot_folds_of_sparse_cases(sparse, tmp_path):
    splits = sparse / "splits_final.json"
    before = read_json(splits)
    try:
        write_json([{"train": ["case_01"], "val": ["case_05"]}], splits)  # no foreground at all
        trainer = train(sparse, "nnUNetTrainerPix2RepFinetuneScratch")
    finally:
        write_json(before, splits)
    record = load_checkpoint_file(Path(trainer.output_folder) / "checkpoint_final.pth")[RECORD_KEY]
    assert record["cases"] == ["case_01"]
    assert all(torch.isfinite(weights).all() for weights in trainer.network.parameters())
