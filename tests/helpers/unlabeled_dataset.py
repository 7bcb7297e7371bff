"""A tiny dataset with images, planned by nnU-Net, to which tests add unlabeled images."""

from pathlib import Path

import numpy as np
import SimpleITK
from planned_dataset import DATASET, make_planned_dataset

from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase
from nnunet_pix2rep.nnunet.unlabeled.pool import pool_folder
from nnunet_pix2rep.nnunet.unlabeled.preprocess import Report, preprocess_unlabeled

SHAPE, SPACING = (5, 40, 36), (1.5, 1.5, 8.0)
ORIGIN = (10.5, -20.25, 3.0)


def volume(seed: int, shape=SHAPE, spacing=SPACING, origin=ORIGIN) -> SimpleITK.Image:
    """A random image without zeros, so that nnU-Net's crop keeps all of it."""
    image = SimpleITK.GetImageFromArray(np.random.default_rng(seed).uniform(1, 200, shape).astype(np.float32))
    image.SetSpacing(spacing[: len(shape)])
    image.SetOrigin(origin[: len(shape)])
    return image


def cine(seeds, **kwargs) -> SimpleITK.Image:
    """A 4D image with a frame per seed."""
    return SimpleITK.JoinSeries([volume(seed, **kwargs) for seed in seeds])


def write(image: SimpleITK.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))
    return path


def make_dataset_with_images(root: Path) -> None:
    """The planned dataset with five labeled cases, ``case_00`` to ``case_04``, of random images."""
    make_planned_dataset(root, shape=SHAPE, spacing=(8.0, 1.2, 1.2), num_cases=5)
    raw = root / "nnUNet_raw" / DATASET
    for number in range(5):
        image = volume(number)
        label = SimpleITK.Cast(image > 150, SimpleITK.sitkUInt8)
        write(image, raw / "imagesTr" / f"case_{number:02d}_0000.nii.gz")
        write(label, raw / "labelsTr" / f"case_{number:02d}.nii.gz")


def run(configuration="2d", **kwargs) -> Report:
    """Preprocesses unlabeled images in this process."""
    return preprocess_unlabeled(DATASET, configuration, num_processes=1, **kwargs)


def pool_of(preprocessed: Path, configuration="2d") -> Path:
    return pool_folder(preprocessed, f"nnUNetPlans_{configuration}")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def voxels(folder: Path, name: str) -> np.ndarray:
    return ImageCase(name, str(folder)).open()[:]


def make_raw(root: Path, ending=".nii.gz", channels=1, image=volume, cases=2) -> Path:
    """Writes a raw dataset with nothing but images and dataset.json; returns its folder."""
    raw = root / "nnUNet_raw" / DATASET
    names = {str(channel): f"channel{channel}" for channel in range(channels)}
    for case in range(cases):
        for channel in range(channels):
            write(image(100 + 10 * case + channel), raw / "imagesTr" / f"case_{case:02d}_{channel:04d}{ending}")
    write_json(
        {"file_ending": ending, "channel_names": names, "labels": {"background": 0, "a": 1}}, raw / "dataset.json"
    )
    return raw
