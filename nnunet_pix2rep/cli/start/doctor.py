"""``nnunet_pix2rep doctor``: what is wrong with an installation, a dataset or a checkpoint, and what fixes it."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Check environment, versions, trainers and, with -d, a dataset and a checkpoint; changes nothing."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments, named as in nnU-Net."""
    parser.add_argument("-d", metavar="DATASET", help="Dataset number or name. Without it only the machine is checked.")
    parser.add_argument("-c", default="2d", metavar="CONFIGURATION", help="Configuration. Default: %(default)s.")
    parser.add_argument("-p", default="nnUNetPlans", metavar="PLANS", help="Plans. Default: %(default)s.")
    parser.add_argument("-f", type=_fold, metavar="FOLD", help="The fold that you mean to train, or all.")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="Weights to start from: with -d, do they fit, whom have they seen?",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the findings; the exit code is 1 if one is an error."""
    from nnunet_pix2rep.doctor.checkpoint import check_checkpoint
    from nnunet_pix2rep.doctor.dataset import DatasetCheck
    from nnunet_pix2rep.doctor.environment import check_environment
    from nnunet_pix2rep.doctor.findings import Level

    findings = check_environment()
    network = folder = config = None
    check = DatasetCheck(arguments.d or "DATASET", arguments.c, arguments.p, arguments.f)
    if arguments.d is not None:
        findings += check.run()
        network, folder, config = check.network, check.folder, check.config
    if arguments.checkpoint is not None:
        findings += check_checkpoint(arguments.checkpoint, network, folder, arguments.f, config, check.command)
    for finding in findings:
        print(f"{finding.level.value:>7}  {finding.subject}: {finding.message}")
        if finding.remedy:
            print(f"         -> {finding.remedy}")
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    print(f"{counts[Level.ERROR]} error(s), {counts[Level.WARNING]} warning(s), {counts[Level.OK]} ok")
    return 1 if counts[Level.ERROR] else 0


def _fold(text: str) -> int | str:
    if text == "all":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is neither a number nor "all"') from None
