"""``nnunet_pix2rep speed``: what pretraining costs here, in ratios to nnU-Net and to the paper, and in hours."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_pix2rep.devices import DEVICES

if TYPE_CHECKING:
    from nnunet_pix2rep.speed.settings import SpeedSettings

HELP = "Measure what pretraining costs on this machine, against nnU-Net's own network, loader and trainer."
RATIOS = ("step_overhead", "head_and_loss", "scaling", "fine_tuning", "loader")
PARTS = ("pretraining", *RATIOS, "pretraining_compiled")
TIME_LIMIT_ON_CUDA = 120.0
TINY: dict[str, Any] = {"width": 32, "default_shape": (16, 16, 16), "default_cases": 4}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments, named as in nnU-Net."""
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("-d", metavar="DATASET", help="Number or name of a preprocessed dataset; only read.")
    data.add_argument(
        "--synthetic", action="store_true", help="Make a small dataset in a temporary folder; needs no variables."
    )
    parser.add_argument(
        "-c", metavar="CONFIGURATION", help="Configuration to measure. Default: 2d; with --synthetic 2d_compact."
    )
    parser.add_argument("-p", default="nnUNetPlans", metavar="PLANS", help="Plans of -d. Default: %(default)s.")
    parser.add_argument("-o", type=Path, default=Path("speed.json"), metavar="FILE", help="Default: %(default)s.")
    parser.add_argument("--repetitions", type=_at_least(1), default=5, help="Of each contestant. Default: %(default)s.")
    parser.add_argument("--device", "-device", default="cpu", choices=DEVICES, help="Default: %(default)s.")
    parser.add_argument("--threads", type=_at_least(1), help="Threads of torch on a CPU. Default: torch's own choice.")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=PARTS,
        metavar="PART",
        help=f"Some of: {', '.join(PARTS)}. Default: all with --device cuda, else all but the pretrainings, whose "
        "networks are of full size.",
    )
    parser.add_argument(
        "--time_limit",
        type=_at_least(1),
        metavar="SECONDS",
        help="Leave out what would not end in this time. Default: 120 with --device cuda, else none.",
    )
    parser.add_argument(
        "--tiny",
        action="store_true",
        help="With --synthetic: a trial of the command on tiny images, whose figures mean nothing.",
    )
    parser.add_argument(
        "--batches",
        type=_at_least(1),
        default=25,
        help="Batches that the loader's time is taken of, and training steps of an epoch. Default: %(default)s.",
    )
    parser.add_argument(
        "--max_points",
        type=_at_least(2048),
        default=131072,
        help="Largest number of sampled pixel pairs in scaling. Default: %(default)s.",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="PART.NAME=VALUE",
        help="Settings over those of the plans, such as pretraining.sampling.num_points=1024.",
    )
    parser.add_argument(
        "--clock",
        choices=("wall", "processor"),
        default="wall",
        help="Processor time, for all but loader and fine_tuning, on a machine that is shared. Default: %(default)s.",
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace an existing file.")


def run(arguments: argparse.Namespace) -> int:
    """Measures, prints the ratios and writes the file."""
    from nnunet_pix2rep.errors import UserError
    from nnunet_pix2rep.files import check_target, require_writable, write_json

    start = time.monotonic()
    target = check_target(arguments.o, arguments.overwrite, "speed.json")
    require_writable(target)
    if arguments.tiny and not arguments.synthetic:
        raise UserError("--tiny is for --synthetic: the images of -d are as large as they are.")
    import torch

    from nnunet_pix2rep.speed.run import run_speed

    earlier_threads = torch.get_num_threads()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    try:
        results = run_speed(_settings(arguments), start=start, keep=lambda found: write_json(found, target))
    finally:
        torch.set_num_threads(earlier_threads)
    write_json(results, target)
    print(f"Wrote {arguments.o}")
    return 0


def _settings(arguments: argparse.Namespace) -> SpeedSettings:
    from nnunet_pix2rep.speed.settings import SpeedSettings

    on_cuda = arguments.device == "cuda"
    return SpeedSettings(
        dataset=arguments.d,
        configuration=arguments.c or ("2d_compact" if arguments.synthetic else "2d"),
        plans_name=arguments.p,
        repetitions=arguments.repetitions,
        device=arguments.device,
        parts=tuple(arguments.only or (PARTS if on_cuda else RATIOS)),
        num_batches=arguments.batches,
        max_points=arguments.max_points,
        settings=tuple(arguments.set),
        clock=arguments.clock,
        time_limit=arguments.time_limit or (TIME_LIMIT_ON_CUDA if on_cuda else None),
        **(TINY if arguments.tiny else {}),
    )


def _at_least(smallest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < smallest:
            raise argparse.ArgumentTypeError(f"must be at least {smallest}, but is {value}")
        return value

    return parse
