"""The commands of the demo, as a user would type them, in stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nnunet_pix2rep.annotation.work_folder import LABELS, read_suggestion
from nnunet_pix2rep.demo.phantom import DESCRIPTION as PHANTOM
from nnunet_pix2rep.demo.settings import (
    CONFIGURATION,
    FINETUNER,
    PLANS,
    PRETRAINER,
    SCRATCH,
    SUNNYBROOK,
    DemoFolders,
    DemoSettings,
)
from nnunet_pix2rep.demo.stages import Stage
from nnunet_pix2rep.nnunet.subprocesses import Command, nnunet_environment

# In mm. Coarser than the images, so that they become 64 pixels wide, which two cores can learn in minutes; they are
# segmented and evaluated in their own size.
PHANTOM_SPACING, SUNNYBROOK_SPACING = ("9", "2.05", "2.05"), ("8", "4.5", "4.5")
PATIENT_REGEX = "(.+)_E[DS]"
SCANS_PER_PATIENT = 2


@dataclass(frozen=True)
class Method:
    """A training that the demo compares.

    Attributes:
        name: Key of its results.
        title: What the user reads.
        trainer: Of ``nnUNetv2_train``.
        root: Holds nnU-Net's folders with the labels that it learns from.
        weights: What it starts from; None: random weights.
    """

    name: str
    title: str
    trainer: str
    root: Path
    weights: Path | None


def demo_methods(folders: DemoFolders) -> tuple[Method, ...]:
    """What is compared: all learn from the same number of annotated slices."""
    return (
        Method("scratch", "one patient, from scratch", SCRATCH, folders.one_patient, None),
        Method("pix2rep", "one patient, Pix2Rep", FINETUNER, folders.one_patient, folders.pretraining),
        Method("suggested", "suggested slices, Pix2Rep", FINETUNER, folders.output, folders.pretraining),
    )


def demo_stages(folders: DemoFolders, settings: DemoSettings) -> list[Stage]:
    """All stages, from the data to the figure."""
    main, other = nnunet_environment(folders.output), nnunet_environment(folders.one_patient)
    return [
        _data(folders, settings),
        *_dataset(folders, settings, main),
        _pretraining(settings, main),
        _annotation_of_a_patient(folders, settings, other),
        *_annotation_of_slices(folders, settings, main),
        *(_training(method, folders, settings) for method in demo_methods(folders)),
        Stage("figure", "Evaluation and figure", (_own("report", folders),), main),
    ]


def _own(module: str, folders: DemoFolders, *arguments: str) -> Command:
    """A command of the demo's own, which no user needs to type."""
    return (
        "python", "-m", f"nnunet_pix2rep.demo.{module}", "-d", folders.dataset, "-o", str(folders.output), *arguments
    )  # fmt: skip


def _data(folders: DemoFolders, settings: DemoSettings) -> Stage:
    raw, seed = str(folders.source / "nnUNet_raw"), str(settings.seed)
    source: Command
    if settings.data is None:
        title = f"Synthetic cardiac MRI of {settings.num_patients} patients"
        source = ("python", "-m", "nnunet_pix2rep.demo.phantom", "-o", raw, "--seed", seed)
        source += ("--patients", str(settings.num_patients))
    else:
        title = "Conversion of Sunnybrook"
        source = ("python", "-m", f"nnunet_pix2rep.dataset_conversion.{SUNNYBROOK}", "-o", raw)
        source += ("-i", str(settings.data))
    hide = _own("hide_labels", folders, "--test", str(settings.num_test), "--seed", seed)
    title += f"; test patients: {settings.num_test}"
    return Stage("data", title, (source, hide), nnunet_environment(folders.source), output=folders.source)


def _dataset(folders: DemoFolders, settings: DemoSettings, environment: Mapping[str, str]) -> list[Stage]:
    number, name = settings.dataset_id, settings.dataset.partition("_")[2]
    labels = ("LV",) if settings.data is not None else tuple(label for label, value in PHANTOM.labels.items() if value)
    spacing = PHANTOM_SPACING if settings.data is None else SUNNYBROOK_SPACING
    new: Command = ("nnunet_pix2rep", "new_dataset", "-i", str(folders.scans), "-d", number, "-n", name)
    new += ("--labels", *labels, "--patient-regex", PATIENT_REGEX)
    plan: Command = ("nnunet_pix2rep", "plan_unlabeled", "-d", number, "-c", "2d", "--no_pp", "-np", "1")
    plan += ("-overwrite_target_spacing", *spacing)
    compact: Command = ("nnunet_pix2rep", "plan", "-d", number, "-c", "2d", "-o", PLANS, "--compact", "--overwrite")
    compact += ("--set", *settings.plan_settings, f"pretraining.seed={settings.seed}")
    preprocess: Command = ("nnunet_pix2rep", "preprocess_unlabeled", "-d", number, "-p", PLANS, "-c", CONFIGURATION)
    preprocess += ("-np", "1")
    made = folders.output / "nnUNet_raw" / folders.dataset
    return [
        Stage("dataset", "A dataset of scans without labels", (new,), environment, output=made),
        Stage("plan", "Plans with a compact network; preprocessing", (plan, compact, preprocess), environment),
    ]


def _train(settings: DemoSettings, trainer: str, weights: Path | None = None) -> Command:
    command: Command = ("nnUNetv2_train", settings.dataset_id, CONFIGURATION, "all", "-p", PLANS, "-tr", trainer)
    return (*command, "-device", "cpu", *(() if weights is None else ("-pretrained_weights", str(weights))))


def _pretraining(settings: DemoSettings, environment: Mapping[str, str]) -> Stage:
    title = f"Pretraining without labels ({PRETRAINER})"
    return Stage("pretrain", title, (_train(settings, PRETRAINER),), environment)


def _suggest(settings: DemoSettings, work: Path, *wanted: str) -> Command:
    plans = ("-d", settings.dataset_id, "-p", PLANS, "-c", CONFIGURATION)
    seed = ("--seed", str(settings.seed))
    return ("nnunet_pix2rep", "suggest", *plans, *wanted, *seed, "-o", str(work), "-device", "cpu")


def _annotate(folders: DemoFolders, settings: DemoSettings, work: Path) -> tuple[Command, Command]:
    """The expert draws, and the labels are taken in; a slice may show nothing of the heart."""
    expert = ("python", "-m", "nnunet_pix2rep.demo.annotator", "-i", str(work), "--truth", str(folders.truth))
    labels = str(work / LABELS)
    return expert, ("nnunet_pix2rep", "collect", "-d", settings.dataset_id, "-i", labels, "--allow-empty")


def _annotation_of_a_patient(folders: DemoFolders, settings: DemoSettings, environment: Mapping[str, str]) -> Stage:
    work = folders.work(folders.one_patient)
    suggest = _suggest(settings, work, "--cases", str(SCANS_PER_PATIENT), "--selector", "random_patients")
    commands = (_own("copy_dataset", folders), suggest, *_annotate(folders, settings, work))
    return Stage("one_patient", "In a copy, all slices of one random patient are annotated", commands, environment)


def _annotation_of_slices(folders: DemoFolders, settings: DemoSettings, environment: Mapping[str, str]) -> list[Stage]:
    work = folders.work(folders.output)

    def suggest() -> tuple[Command, ...]:
        number = len(read_suggestion(folders.work(folders.one_patient)).slices)
        return (_suggest(settings, work, "--slices", str(number)),)

    return [
        Stage("suggest", "As many slices of all patients are suggested", suggest, environment),
        Stage("annotate", "They are annotated", partial(_annotate, folders, settings, work), environment),
    ]


def _training(method: Method, folders: DemoFolders, settings: DemoSettings) -> Stage:
    trained_with: Command = ("-d", settings.dataset_id, "-p", PLANS, "-c", CONFIGURATION, "-tr", method.trainer)
    images, output = str(folders.test / "images"), str(folders.prediction(method.name))
    predict: Command = ("nnUNetv2_predict", "-i", images, "-o", output, *trained_with, "-f", "all", "-device", "cpu")
    return Stage(
        method.name,
        f"Fine-tuning and prediction: {method.title}",
        (_train(settings, method.trainer, method.weights), predict),
        nnunet_environment(method.root),
    )
