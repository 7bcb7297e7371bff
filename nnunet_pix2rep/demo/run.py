"""The demo: nnU-Net's commands learn from one labeled patient, from scratch and after Pix2Rep's pretraining."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_pix2rep.demo.phantom import DATASET_ID as PHANTOM_ID
from nnunet_pix2rep.demo.phantom import DEFAULT_PATIENTS
from nnunet_pix2rep.demo.phantom import DESCRIPTION as PHANTOM
from nnunet_pix2rep.demo.results import collect_results, format_table
from nnunet_pix2rep.demo.stages import Stage, StageFolder
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.checkpoints.files import package_versions
from nnunet_pix2rep.nnunet.subprocesses import nnunet_environment

SUNNYBROOK = "Dataset501_Sunnybrook"
# In mm. Coarser than the images, so that they become 64 pixels wide, which two cores can learn in minutes; they are
# segmented and evaluated in their own size.
PHANTOM_SPACING, SUNNYBROOK_SPACING = ("9", "2.05", "2.05"), ("8", "4.5", "4.5")
CONFIGURATION = "2d_compact"
FOLD = 0
PRETRAINER = "nnUNetTrainerPix2RepV2Pretrain"
FINETUNER = "nnUNetTrainerConfiguredLength"
PIX2REP_PLANS, SCRATCH_PLANS = "Pix2RepPlans", "ScratchPlans"

# Short enough for a few minutes on two cores. Few and long epochs, since each ends with a plot and a checkpoint.
PLAN_SETTINGS = (
    "pretraining.num_epochs=3",
    "pretraining.num_iterations_per_epoch=100",
    "pretraining.num_val_iterations_per_epoch=2",
    "pretraining.sampling.num_points=2048",
    "pretraining.optimization.initial_lr=0.003",
    "finetuning.num_epochs=6",
    "finetuning.num_iterations_per_epoch=100",
    "finetuning.num_val_iterations_per_epoch=2",
)


@dataclass(frozen=True)
class DemoSettings:
    """What the results of a demo depend on.

    Attributes:
        seed: Of the phantom, of the choice of patients and of the pretraining.
        data: A Sunnybrook folder to use in place of the phantom.
        num_patients: Size of the phantom.
        num_validation: Validation patients.
        plan_settings: For ``nnunet_pix2rep plan --set``.
    """

    seed: int = 0
    data: Path | None = None
    num_patients: int = DEFAULT_PATIENTS
    num_validation: int = 10
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
            "num_validation": self.num_validation,
            "plan_settings": list(self.plan_settings),
            "versions": package_versions(),
        }


def run_demo(output: Path, settings: DemoSettings | None = None) -> dict[str, Any]:
    """Runs the demo, or the rest of one that was interrupted; prints progress and the table of results.

    Args:
        output: Gets nnU-Net's folders, ``summary.json``, ``demo.png``, ``stages.json`` and ``logs/``.
        settings: None for the defaults.

    Returns:
        The content of ``summary.json``.

    Raises:
        UserError: the data or the output folder is not fit, or a command failed.
    """
    settings = settings or DemoSettings()
    if settings.data is not None and not settings.data.is_dir():
        raise UserError(
            f"{settings.data} is not a folder. --data takes a Sunnybrook folder with Images/ and Labels/ in it."
        )
    output = output.resolve()
    folder = StageFolder(output, settings.to_record())
    stages = demo_stages(output, settings)
    environment = nnunet_environment(output)
    print(f"Everything is written to {output}")
    folder.run(stages, environment)
    results = collect_results(result_folders(output, settings), output / "nnUNet_preprocessed" / settings.dataset)
    summary = results | {
        "seconds": sum(folder.seconds.values()),
        "seconds_per_stage": folder.seconds,
        **settings.to_record(),
        "environment": {name: value for name, value in environment.items() if name.startswith(("nnUNet_", "OMP_"))},
        "commands": folder.commands,
    }
    write_json(summary, output / "summary.json")
    print(f"\n{format_table(summary)}\n\nFigure:  {output / 'demo.png'}\nSummary: {output / 'summary.json'}")
    return summary


def result_folders(output: Path, settings: DemoSettings) -> dict[str, Path]:
    """nnU-Net's folders of the fold: of the two segmentations, and of the pretraining."""

    def folder(trainer: str, plans: str) -> Path:
        results = output / "nnUNet_results" / settings.dataset
        return results / f"{trainer}__{plans}__{CONFIGURATION}" / f"fold_{FOLD}"

    return {
        "scratch": folder(FINETUNER, SCRATCH_PLANS),
        "pix2rep": folder(FINETUNER, PIX2REP_PLANS),
        "pretraining": folder(PRETRAINER, PIX2REP_PLANS),
    }


def demo_stages(output: Path, settings: DemoSettings) -> list[Stage]:
    """All stages: data, nnU-Net's planning and preprocessing, pretraining, two trainings, figure."""
    return [*_preparation(output, settings), *_training(output, settings), _figure(output, settings)]


def _preparation(output: Path, settings: DemoSettings) -> list[Stage]:
    number = settings.dataset_id
    raw = str(output / "nnUNet_raw")
    is_phantom = settings.data is None
    phantom: tuple[str, ...] = ("python", "-m", "nnunet_pix2rep.demo.phantom", "-o", raw)
    phantom += ("--seed", str(settings.seed), "--patients", str(settings.num_patients))
    conversion = (
        "python",
        "-m",
        f"nnunet_pix2rep.dataset_conversion.{SUNNYBROOK}",
        "-o",
        raw,
        "-i",
        str(settings.data),
    )
    fingerprint_and_plan = ("nnUNetv2_plan_and_preprocess", "-d", number, "-c", "2d", "--no_pp", "-npfp", "2")
    spacing = PHANTOM_SPACING if is_phantom else SUNNYBROOK_SPACING
    plan = ("nnunet_pix2rep", "plan", "-d", number, "--overwrite")
    all_settings = (*settings.plan_settings, f"pretraining.seed={settings.seed}")
    split: tuple[str, ...] = ("nnunet_pix2rep", "split", "-d", number, "--shots", "1", "--seeds", "1")
    split += ("--validation", str(settings.num_validation), "--seed", str(settings.seed))
    preprocess = ("nnUNetv2_preprocess", "-d", number, "-plans_name", PIX2REP_PLANS, "-c", CONFIGURATION, "-np", "2")
    title = f"Synthetic cardiac MRI of {settings.num_patients} patients" if is_phantom else "Conversion of Sunnybrook"
    return [
        Stage("data", title, (phantom if is_phantom else conversion,)),
        Stage(
            "plan",
            "nnU-Net's fingerprint and plans",
            ((*fingerprint_and_plan, "-overwrite_target_spacing", *spacing),),
        ),
        Stage(
            "pix2rep_plans",
            "Plans with a compact network and Pix2Rep's settings",
            (
                (*plan, "-c", "2d", "-o", PIX2REP_PLANS, "--compact", "--set", *all_settings),
                # The same under another name, so that the results of the two trainings lie side by side.
                (*plan, "-c", CONFIGURATION, "-p", PIX2REP_PLANS, "-o", SCRATCH_PLANS),
            ),
        ),
        Stage("preprocess", "nnU-Net's preprocessing", (preprocess,)),
        Stage("split", f"Split: 1 labeled patient, {settings.num_validation} validation patients", (split,)),
    ]


def _training(output: Path, settings: DemoSettings) -> list[Stage]:
    def train(plans: str, trainer: str, *further: str) -> tuple[str, ...]:
        fold = (settings.dataset_id, CONFIGURATION, str(FOLD))
        return ("nnUNetv2_train", *fold, "-p", plans, "-tr", trainer, "-device", "cpu", *further)

    pretrained = result_folders(output, settings)["pretraining"] / "checkpoint_final.pth"
    return [
        Stage("pretrain", f"Pretraining without labels ({PRETRAINER})", (train(PIX2REP_PLANS, PRETRAINER),)),
        Stage("scratch", "One labeled patient, from scratch; validation", (train(SCRATCH_PLANS, FINETUNER),)),
        Stage(
            "pix2rep",
            "The same patient, from Pix2Rep; validation",
            (train(PIX2REP_PLANS, FINETUNER, "-pretrained_weights", str(pretrained)),),
        ),
    ]


def _figure(output: Path, settings: DemoSettings) -> Stage:
    folders = result_folders(output, settings)
    arguments = [
        argument for name in ("scratch", "pix2rep", "pretraining") for argument in (f"--{name}", str(folders[name]))
    ]
    command = ("python", "-m", "nnunet_pix2rep.demo.figure", "-d", settings.dataset, "-o", str(output / "demo.png"))
    return Stage("figure", "Figure", ((*command, *arguments),))
