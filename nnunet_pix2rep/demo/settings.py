"""What a demo depends on, and where it puts things."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_pix2rep.demo import DEFAULT_SEED
from nnunet_pix2rep.demo.phantom import DATASET_ID as PHANTOM_ID
from nnunet_pix2rep.demo.phantom import DEFAULT_PATIENTS
from nnunet_pix2rep.demo.phantom import DESCRIPTION as PHANTOM
from nnunet_pix2rep.nnunet.checkpoints.files import FINAL, package_versions

SUNNYBROOK = "Dataset501_Sunnybrook"
CONFIGURATION = "2d_compact"
PLANS = "Pix2RepPlans"
PRETRAINER = "nnUNetTrainerPix2RepV2Pretrain"
FINETUNER = "nnUNetTrainerPix2RepFinetune"
SCRATCH = "nnUNetTrainerPix2RepFinetuneScratch"
"""The same schedule and optimizer as FINETUNER's, from random weights."""

# Short enough for a few minutes on two cores. Few and long epochs, since each ends with a checkpoint.
PLAN_SETTINGS = (
    "pretraining.num_epochs=2",
    "pretraining.num_iterations_per_epoch=120",
    "pretraining.num_val_iterations_per_epoch=2",
    "pretraining.sampling.num_points=2048",
    "pretraining.optimization.initial_lr=0.003",
    "finetuning.num_epochs=4",
    "finetuning.num_iterations_per_epoch=75",
    "finetuning.num_val_iterations_per_epoch=2",
)


@dataclass(frozen=True)
class DemoSettings:
    """What the results of a demo depend on.

    Attributes:
        seed: Of the phantom, of the choice of patients and slices, and of the pretraining.
        data: A Sunnybrook folder to use instead of the phantom.
        num_patients: Size of the phantom.
        num_test: Test patients.
        plan_settings: For ``nnunet_pix2rep plan --set``.
    """

    seed: int = DEFAULT_SEED
    data: Path | None = None
    num_patients: int = DEFAULT_PATIENTS
    num_test: int = 10
    plan_settings: tuple[str, ...] = PLAN_SETTINGS

    @property
    def dataset(self) -> str:
        """nnU-Net's name of the dataset."""
        return f"Dataset{PHANTOM_ID}_{PHANTOM.name}" if self.data is None else SUNNYBROOK

    @property
    def dataset_id(self) -> str:
        """Its number, as nnU-Net's commands want it."""
        return self.dataset[len("Dataset") :][:3]

    def to_record(self) -> dict[str, Any]:
        """Plain values, with the versions of the packages."""
        return {
            "seed": self.seed,
            "data": None if self.data is None else str(self.data.resolve()),
            "num_patients": self.num_patients if self.data is None else None,
            "num_test": self.num_test,
            "plan_settings": list(self.plan_settings),
            "versions": package_versions(),
        }


@dataclass(frozen=True)
class DemoFolders:
    """Where a demo puts things: nnU-Net's folders of the main job lie in ``output`` itself.

    Attributes:
        output: The folder of the demo.
        dataset: nnU-Net's name of the dataset.
    """

    output: Path
    dataset: str

    @property
    def source(self) -> Path:
        """Holds nnU-Net's raw folder of the dataset with all its labels."""
        return self.output / "source"

    @property
    def one_patient(self) -> Path:
        """Holds nnU-Net's folders of the same dataset, in which one patient is annotated."""
        return self.output / "one_patient"

    @property
    def scans(self) -> Path:
        """The scans that the dataset begins with."""
        return self.output / "scans"

    @property
    def truth(self) -> Path:
        """Their labels, from which the slices to annotate are filled in."""
        return self.output / "truth"

    @property
    def test(self) -> Path:
        """Images and labels of the test patients."""
        return self.output / "test"

    @property
    def pretraining(self) -> Path:
        """The checkpoint of the pretraining."""
        folder = f"{PRETRAINER}__{PLANS}__{CONFIGURATION}"
        return self.output / "nnUNet_results" / self.dataset / folder / "fold_all" / FINAL

    def work(self, root: Path) -> Path:
        """The work folder of the slices to annotate, beside nnU-Net's folders in ``root``."""
        return root / "to_annotate"

    def prediction(self, method: str) -> Path:
        """Gets the segmentations of the test images by a method."""
        return self.output / "predictions" / method


def folders_parser(description: str | None) -> argparse.ArgumentParser:
    """The command line of a part of the demo: ``-d`` and ``-o`` say which :class:`DemoFolders`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("-d", required=True, metavar="DATASET", help="name of the dataset")
    parser.add_argument("-o", type=Path, required=True, metavar="FOLDER", help="folder of the demo")
    return parser
