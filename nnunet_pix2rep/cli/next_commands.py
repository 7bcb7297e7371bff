"""Commands that several subcommands print as what comes next."""

from __future__ import annotations

from pathlib import Path

DEFAULT_PLANS = "nnUNetPlans"


def plans_option(plans_name: str) -> str:
    """The option that names plans; empty for the default ones of all commands."""
    return "" if plans_name == DEFAULT_PLANS else f" -p {plans_name}"


def device_option() -> str:
    """What ``nnUNetv2_train``, which takes CUDA by default, must be told on a machine without it."""
    from nnunet_pix2rep.devices import usable_devices

    return "" if "cuda" in usable_devices() else " -device cpu"


def before_annotating(dataset: str | int, configurations: list[str], plans_name: str, chosen: str) -> list[str]:
    """Lines on how to go on with scans of which none is annotated.

    Args:
        dataset: Number of the dataset.
        configurations: Those that can be pretrained.
        plans_name: The plans.
        chosen: The configuration that slices are suggested for.
    """
    plans = plans_option(plans_name)
    trainings = [
        f"  nnUNetv2_train {dataset} {configuration} all{plans} -tr nnUNetTrainerPix2RepV2Pretrain{device_option()}"
        for configuration in configurations
    ]
    return [
        f"  nnunet_pix2rep suggest -d {dataset} -c {chosen}{plans} --slices 20 -o to_annotate",
        "suggest needs no pretraining. Only --like, the selectors that look at features and the map in overview.html "
        "do; for these, first:",
        *trainings,
    ]


def for_each_configuration(dataset: str, command: str) -> str:
    """What comes next with any of a dataset's configurations, one command each.

    Args:
        dataset: Number or name of the dataset.
        command: With ``{configuration}`` and, for the option ``-p``, ``{plans}`` where these stand.

    Returns:
        The text to print. It has the configurations with preprocessed images, where there is none all that are
        planned, and where nothing is planned CONFIGURATION and PLANS.
    """
    from nnunetv2.paths import nnUNet_preprocessed

    from nnunet_pix2rep.annotation.collect.preprocess import targets_of
    from nnunet_pix2rep.nnunet.data.dataset_folders import dataset_name_of

    choices = []
    if nnUNet_preprocessed.is_set():
        folder = Path(nnUNet_preprocessed) / dataset_name_of(dataset)
        choices = [(target.configuration, target.plans["plans_name"]) for target in targets_of(folder)]
        choices = choices or _planned(folder)
    commands = [
        command.format(configuration=configuration, plans=plans_option(plans_name))
        for configuration, plans_name in choices or [("CONFIGURATION", "PLANS")]
    ]
    return f"Next: {commands[0]}" if len(commands) == 1 else "\n  ".join(["Next, one of:", *commands])


def _planned(dataset_folder: Path) -> list[tuple[str, str]]:
    """Configuration and name of plans, for all that a dataset's plans have but second stages of cascades."""
    from nnunet_pix2rep.nnunet.plans.plans_file import plans_in, read_plans

    return [
        (name, plans_name)
        for plans_name in plans_in(dataset_folder)
        for name, configuration in read_plans(dataset_folder / f"{plans_name}.json")["configurations"].items()
        if "previous_stage" not in configuration
    ]
