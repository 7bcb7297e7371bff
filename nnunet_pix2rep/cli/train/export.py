"""``nnunet_pix2rep export``: a checkpoint as a small file for ``-pretrained_weights`` or for nnU-Net's nnssl chain."""

from __future__ import annotations

import argparse
from pathlib import Path
from shlex import quote

HELP = "Write the weights of a checkpoint as a small file for nnU-Net: for -pretrained_weights, or in nnssl's format."
ENCODER_ONLY = (
    "nnU-Net's fine-tuning of nnssl checkpoints takes only encoder and stem, leaves the decoder random, and is 3D "
    "only. Pix2Rep pretrains the decoder too: -pretrained_weights takes all of it and is recommended."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint_final.pth of a training.")
    parser.add_argument(
        "--format",
        required=True,
        choices=("nnunet", "nnssl"),
        help="nnunet: the whole network without optimizer and segmentation layers, for -pretrained_weights. nnssl: "
        f"encoder and stem with an adaptation plan. {ENCODER_ONLY}",
    )
    parser.add_argument("-o", required=True, type=Path, metavar="FILE", help="The new file, such as weights.pth.")
    parser.add_argument("--overwrite", action="store_true", help="Replace an existing file.")


def run(arguments: argparse.Namespace) -> int:
    """Writes the file and prints how to use it."""
    from nnunet_pix2rep.files import require_writable
    from nnunet_pix2rep.nnunet.checkpoints.export import export_checkpoint

    require_writable(arguments.o)
    content = export_checkpoint(arguments.checkpoint, arguments.format, arguments.o, arguments.overwrite)
    num_weights = len({value.data_ptr() for value in content["network_weights"].values()})
    print(f"Wrote {arguments.o}: {num_weights} tensors, {arguments.o.stat().st_size / 1e6:.1f} MB")
    if arguments.format == "nnunet":
        print(f"Use it with nnUNetv2_train ... -pretrained_weights {quote(str(arguments.o.resolve()))}")
    else:
        print(ENCODER_ONLY)
        _print_nnssl_commands(quote(str(arguments.o.resolve())))
    return 0


def _print_nnssl_commands(file: str) -> None:
    from importlib.metadata import version

    from nnunet_pix2rep.nnunet.checkpoints.nnssl_plan import PLAN_COMMANDS, TRAIN_COMMAND, installed_commands

    installed = installed_commands()
    missing = [name for name in (*PLAN_COMMANDS, TRAIN_COMMAND) if name not in installed]
    if missing:
        print(
            f"This installation (nnunetv2 {version('nnunetv2')}) lacks {', '.join(missing)}: they are on nnU-Net's "
            "main branch. Install nnU-Net from there to use this file."
        )
        return
    print("Use it with, for instance:")
    print(f"  {PLAN_COMMANDS[0]} -d DATASET_ID -n pix2rep -pc {file} -pl nnUNetPlans")
    print(f"  {TRAIN_COMMAND} DATASET_ID 3d_fullres FOLD -p ptPlans_dynamic__pix2rep -tr DynamicPretrainedTrainer")
