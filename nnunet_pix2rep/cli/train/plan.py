"""``nnunet_pix2rep plan``: writes a plans file with Pix2Rep's settings."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Write plans with Pix2Rep's settings, and optionally a compact configuration for small machines."

PREPROCESS = "nnUNetv2_preprocess -d {} -plans_name {}"
PREPROCESS_UNLABELED = "nnunet_pix2rep preprocess_unlabeled -d {} -p {}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments, named as in nnU-Net."""
    parser.add_argument("-d", required=True, metavar="DATASET", help="Dataset number or name.")
    parser.add_argument(
        "-c", required=True, metavar="CONFIGURATION", help="Configuration that gets the settings, such as 2d."
    )
    parser.add_argument(
        "-p", default="nnUNetPlans", metavar="PLANS", help="Existing plans to start from. Default: %(default)s."
    )
    parser.add_argument(
        "-o", default="Pix2RepPlans", metavar="NEW_PLANS", help="Name of the new plans. Default: %(default)s."
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="PART.NAME=VALUE",
        help="Settings, such as pretraining.num_epochs=200. All of them: nnunet_pix2rep settings.",
    )
    parser.add_argument(
        "--compact",
        action="store_true",
        help="Add the configuration <CONFIGURATION>_compact with a small network for small images, for CPUs and tests.",
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace existing plans of this name.")


def run(arguments: argparse.Namespace) -> int:
    """Writes the plans and prints what to run next."""
    from nnunet_pix2rep.files import read_json
    from nnunet_pix2rep.nnunet.plans.compact import COMPACT_SUFFIX
    from nnunet_pix2rep.nnunet.plans.write import write_plans

    path = write_plans(
        arguments.d, arguments.c, arguments.p, arguments.o, arguments.set, arguments.compact, arguments.overwrite
    )
    configurations = [arguments.c] + ([arguments.c + COMPACT_SUFFIX] if arguments.compact else [])
    print(f"Wrote {path}")
    _print_settings(read_json(path), configurations)
    _print_next_commands(arguments, path.parent, read_json(path), configurations)
    return 0


def _print_settings(plans: dict, configurations: list[str]) -> None:
    from nnunet_pix2rep.config import BLOCK_NAME
    from nnunet_pix2rep.config.merge import listed
    from nnunet_pix2rep.nnunet.plans.plans_file import resolve_configuration

    for configuration in configurations:
        content = resolve_configuration(plans, configuration)
        spacing = [round(width, 3) for width in content["spacing"]]
        print(
            f"{configuration}: patch {content['patch_size']}, spacing {spacing} mm, batch size {content['batch_size']}"
        )
    block = plans["configurations"][configurations[0]][BLOCK_NAME]
    changed = [f"{name} = {value}" for name, value in listed(block)]
    print("Settings: " + (", ".join(changed) if changed else "Pix2Rep's defaults"))


def _print_next_commands(arguments: argparse.Namespace, folder: Path, plans: dict, configurations: list[str]) -> None:
    from nnunet_pix2rep.nnunet.data.dataset_folders import is_without_labels
    from nnunet_pix2rep.nnunet.plans.plans_file import resolve_configuration
    from nnunet_pix2rep.nnunet.unlabeled.pool import pool_folder

    without_labels = is_without_labels(folder.name)
    preprocess = PREPROCESS_UNLABELED if without_labels else PREPROCESS
    print("Next:")
    for configuration in configurations:
        # A folder of the compact configuration may be left from other plans, with another spacing.
        is_compact = configuration != arguments.c
        data = folder / resolve_configuration(plans, configuration)["data_identifier"]
        done = pool_folder(folder, data.name) if without_labels else data
        if is_compact or not done.is_dir():
            print(f"  {preprocess.format(_number(folder), arguments.o)} -c {configuration}")
    for configuration in configurations:
        fold = f"{configuration} {'all' if without_labels else 0}"
        print(f"  nnUNetv2_train {_number(folder)} {fold} -p {arguments.o} -tr nnUNetTrainerPix2RepPretrain")


def _number(folder: Path) -> int:
    """nnUNetv2_preprocess takes the dataset's number only."""
    from nnunetv2.utilities.dataset_name_id_conversion import convert_dataset_name_to_id

    return convert_dataset_name_to_id(folder.name)
