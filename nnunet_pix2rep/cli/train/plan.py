"""``nnunet_pix2rep plan``: writes a plans file with Pix2Rep's settings."""

from __future__ import annotations

import argparse
from pathlib import Path
from shlex import quote

from nnunet_pix2rep.cli.next_commands import before_annotating, device_option

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
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="CHECKPOINT",
        help="A checkpoint of another dataset, to start trainings from: the new plans have its spacing, patch and "
        "network, so that its weights fit.",
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace existing plans of this name.")


def run(arguments: argparse.Namespace) -> int:
    """Writes the plans and prints what to run next."""
    from nnunet_pix2rep.files import read_json
    from nnunet_pix2rep.nnunet.plans.compact import COMPACT_SUFFIX
    from nnunet_pix2rep.nnunet.plans.write import write_plans

    if arguments.weights is not None:
        return _run_for_weights(arguments)
    path = write_plans(
        arguments.d,
        arguments.c,
        source_plans_name=arguments.p,
        plans_name=arguments.o,
        settings=arguments.set,
        compact=arguments.compact,
        overwrite=arguments.overwrite,
    )
    configurations = [arguments.c] + ([arguments.c + COMPACT_SUFFIX] if arguments.compact else [])
    print(f"Wrote {path}")
    _print_settings(read_json(path), configurations)
    _print_next_commands(arguments, path.parent, read_json(path), configurations)
    return 0


def _run_for_weights(arguments: argparse.Namespace) -> int:
    from nnunet_pix2rep.errors import UserError
    from nnunet_pix2rep.files import read_json
    from nnunet_pix2rep.nnunet.checkpoints.plans_of_weights import write_plans_of_weights

    if arguments.compact:
        raise UserError("--compact plans another network, which the weights of --weights do not fit. Leave it out.")
    written = write_plans_of_weights(
        arguments.d,
        arguments.c,
        weights=arguments.weights,
        source_plans_name=arguments.p,
        plans_name=arguments.o,
        settings=arguments.set,
        overwrite=arguments.overwrite,
    )
    print(f"Wrote {written.file}: spacing, patch and network of {written.dataset_name}, for the weights trained there")
    print(f"Normalization: that of {arguments.p if written.has_own_normalization else written.dataset_name}")
    plans = read_json(written.file)
    _print_settings(plans, [arguments.c])
    _print_channels(written.num_channels, plans, arguments.c)
    _print_next_commands(arguments, written.file.parent, plans, [arguments.c])
    return 0


def _print_channels(num_channels: tuple[int, int], plans: dict, configuration: str) -> None:
    """What to set where the weights are of another number of input channels."""
    from nnunet_pix2rep.config.input_channels import ADAPT
    from nnunet_pix2rep.nnunet.plans.plans_file import read_config, resolve_configuration

    config = read_config(resolve_configuration(plans, configuration), plans["plans_name"])
    wanted = {config.pretraining.other_input_channels, config.finetuning.other_input_channels}
    if num_channels[0] != num_channels[1] and ADAPT not in wanted:
        print(
            f"The weights are of {num_channels[0]} input channel(s) and the images have {num_channels[1]}, which a "
            f"training refuses. To have the first convolution adapted: --set finetuning.other_input_channels={ADAPT}, "
            "or the same of pretraining"
        )


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
    for configuration in configurations:
        block = plans["configurations"][configuration].get(BLOCK_NAME) or {}
        changed = [f"{name} = {value}" for name, value in listed(block)]
        print(f"Settings of {configuration}: " + (", ".join(changed) if changed else "Pix2Rep's defaults"))


def _print_next_commands(arguments: argparse.Namespace, folder: Path, plans: dict, configurations: list[str]) -> None:
    from nnunet_pix2rep.files import read_json
    from nnunet_pix2rep.nnunet.data.annotation_record import read_annotations
    from nnunet_pix2rep.nnunet.data.dataset_folders import is_without_labels
    from nnunet_pix2rep.nnunet.unlabeled.waiting import unlabeled_scans

    without_labels = is_without_labels(folder.name)
    commands = [command for name in configurations for command in _preprocessing(arguments, folder, plans, name)]
    if read_annotations(folder) and any(command.startswith("nnUNetv2") for command in commands):
        # nnU-Net's preprocessing does not know what to do with single annotated slices
        commands.append(f"nnunet_pix2rep collect -d {_number(folder)}")
    print("\n  ".join(["Next:", *commands]))
    if without_labels and arguments.weights is None:
        print("\n".join(before_annotating(_number(folder), configurations, arguments.o, configurations[-1])))
        return
    is_sparse = "ignore" in read_json(folder / "dataset.json")["labels"] or bool(unlabeled_scans(folder))
    trainer, start = "nnUNetTrainerPix2RepV2" if is_sparse else "nnUNetTrainerPix2RepPretrain", ""
    if arguments.weights is not None:
        trainer = "nnUNetTrainerPix2RepV2Pretrain" if without_labels else "nnUNetTrainerPix2RepFinetune"
        start = f" -pretrained_weights {quote(str(arguments.weights.resolve()))}"
    if len(configurations) > 1:
        print("then one of:")
    for configuration in configurations:
        fold = f"{configuration} {'all' if is_sparse else 0}"
        print(f"  nnUNetv2_train {_number(folder)} {fold} -p {arguments.o} -tr {trainer}{start}{device_option()}")


def _preprocessing(arguments: argparse.Namespace, folder: Path, plans: dict, configuration: str) -> list[str]:
    """Commands for what is not preprocessed under the new plans."""
    from nnunet_pix2rep.nnunet.data.dataset_folders import is_without_labels
    from nnunet_pix2rep.nnunet.plans.plans_file import resolve_configuration
    from nnunet_pix2rep.nnunet.unlabeled.waiting import unlabeled_scans, waiting_scans

    # Data under a name of its own may be left from plans that were replaced, with another spacing.
    has_own_data = configuration != arguments.c or arguments.weights is not None
    data = folder / resolve_configuration(plans, configuration)["data_identifier"]
    commands = []
    if not is_without_labels(folder.name) and (has_own_data or not data.is_dir()):
        commands.append(PREPROCESS)
    if unlabeled_scans(folder) if has_own_data else waiting_scans(folder, data.name):
        commands.append(PREPROCESS_UNLABELED)
    return [f"{command.format(_number(folder), arguments.o)} -c {configuration}" for command in commands]


def _number(folder: Path) -> int:
    """nnUNetv2_preprocess takes the dataset's number only."""
    from nnunetv2.utilities.dataset_name_id_conversion import convert_dataset_name_to_id

    return convert_dataset_name_to_id(folder.name)
