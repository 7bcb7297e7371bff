"""A tiny dataset of which some scans are annotated in part and others not at all, with a pretraining."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from tiny_training import CASES, DATASET, PLANS, SHAPE, make_tiny_dataset, make_trainer, prepare_for_training

from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepV2Pretrain
from nnunet_pix2rep.nnunet.unlabeled.preprocess import preprocess_unlabeled

LABELS = {"background": 0, "ring": 1, "core": 2, "ignore": 3}
UNLABELED = tuple(f"scan_{number:02d}" for number in range(4))
IGNORED = (0, 3, 6, 9)  # slices of the annotated cases that are not annotated
CONFIGURATIONS = ("2d", "3d_fullres")
OBLIQUE = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0, 0.0, 0.0, -1.0)


def unlabeled_scan(number: int) -> SimpleITK.Image:
    """A ball in noise; oblique, away from the origin, with two empty slices at the beginning."""
    generator = np.random.default_rng(100 + number)
    distance = np.linalg.norm(np.indices(SHAPE) - np.array(SHAPE).reshape(3, 1, 1, 1) / 2, axis=0)
    array = (distance < 8 + number) + generator.uniform(0.1, 0.5, SHAPE)
    array[:2] = 0
    image = SimpleITK.GetImageFromArray(array.astype(np.float32))
    image.SetOrigin((10.5, -20.25, 3.0))
    image.SetDirection(OBLIQUE)
    return image


def make_sparse_dataset(root: Path) -> Path:
    """Six cases with 8 of 12 slices annotated, four scans without labels; returns the root of nnU-Net's folders.

    Both configurations have the checkpoint of a pretraining in fold ``all``, of a network that has not trained.
    """
    folder = make_tiny_dataset(root, labels=LABELS, configurations=CONFIGURATIONS, ignored_value=LABELS["ignore"])
    raw = root / "nnUNet_raw" / DATASET
    (raw / "imagesUn").mkdir()
    for number, case in enumerate(UNLABELED):
        SimpleITK.WriteImage(unlabeled_scan(number), str(raw / "imagesUn" / f"{case}_0000.nii.gz"))
    with pytest.MonkeyPatch.context() as patch:
        prepare_for_training(patch, folder, root)
        for configuration in CONFIGURATIONS:
            preprocess_unlabeled(DATASET, configuration, PLANS, num_processes=1)
            trainer = make_trainer(nnUNetTrainerPix2RepV2Pretrain, folder, "all", configuration)
            trainer.initialize()
            trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    return root


def without_labels(root: Path) -> None:
    """Turns a copy of the dataset into one that nobody has annotated yet."""
    raw, folder = root / "nnUNet_raw" / DATASET, root / "nnUNet_preprocessed" / DATASET
    for name in ("imagesTr", "labelsTr"):
        shutil.rmtree(raw / name)
    shutil.rmtree(folder / "gt_segmentations")
    for configuration in CONFIGURATIONS:
        shutil.rmtree(folder / f"{PLANS}_{configuration}")
    (folder / "splits_final.json").unlink()
    write_json(read_json(raw / "dataset.json") | {"numTraining": 0}, raw / "dataset.json")


def validation_patients() -> set[str]:
    """Of fold 0."""
    return set(CASES[4:])


def copy_dataset(root: Path, target: Path) -> Path:
    """A copy of nnU-Net's folders that a test may change."""
    shutil.copytree(root, target)
    for record in (target / "nnUNet_preprocessed" / DATASET).glob("*_unlabeled.json"):
        record.write_text(record.read_text().replace(str(root), str(target)))
    return target
