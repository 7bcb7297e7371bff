"""Commands that several subcommands print as what comes next."""

from __future__ import annotations

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
