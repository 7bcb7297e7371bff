"""``nnunet_pix2rep suggest``: which slices to annotate, and a folder to draw in."""

from __future__ import annotations

import argparse
from pathlib import Path
from shlex import quote

from nnunet_pix2rep.cli.feature_options import FEATURES
from nnunet_pix2rep.devices import DEVICES

HELP = "Choose which slices to annotate, spread over patients or by the pretrained features; write a folder to draw in."
SELECTORS = (
    "random", "random_patients", "fixed_interval", "middle", "one_per_patient", "typical", "coverage", "kmeans"
)  # fmt: skip
WEIGHTINGS = ("structure", "all", "distinctive", "centre")
AXES = ("z", "y", "x")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments, named as in nnU-Net."""
    parser.add_argument("-d", required=True, metavar="DATASET", help="Dataset number or name.")
    parser.add_argument("-c", required=True, metavar="CONFIGURATION", help="Configuration, such as 2d.")
    parser.add_argument("-p", default="nnUNetPlans", metavar="PLANS", help="Plans. Default: %(default)s.")
    parser.add_argument("-o", required=True, type=Path, metavar="FOLDER", help="The folder to write and draw in.")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--slices", type=int, metavar="N", help="How many slices to annotate.")
    budget.add_argument("--cases", type=int, metavar="N", help="How many whole scans to annotate instead.")
    parser.add_argument(
        "--selector", choices=SELECTORS, help="How to choose. Default: one_per_patient; with --like, coverage."
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="Seed of all random choices. Default: 0.")
    parser.add_argument(
        "--like",
        type=_click,
        metavar="CASE:x,y,z",
        help="A voxel of the structure, counted from 0 (x,y for 2D images): slices that show it are chosen.",
    )
    parser.add_argument(
        "--weigh",
        choices=WEIGHTINGS,
        help="How pixels count: by their similarity to --like or to annotated foreground, all the same, by how "
        "distinctive they are, or by how near the middle of the slice. Default: structure where it is known, else all.",
    )
    parser.add_argument(
        "--axis",
        choices=AXES,
        help="Axis of the voxels across which slices are drawn, for 3D configurations. Default: that of the largest "
        "spacing of each image.",
    )
    parser.add_argument(
        "-f", type=_fold, default="all", metavar="FOLD", help="Validation patients of this fold are left out. "
        "Default: all, which has none."
    )  # fmt: skip
    parser.add_argument("--draft", action="store_true", help="Fill the chosen slices with a draft to be corrected.")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="The pretraining. Default: the finished one of these plans."
    )
    parser.add_argument("--features", choices=FEATURES, help="As in nnunet_pix2rep features.")
    parser.add_argument("-device", choices=DEVICES, help="As in nnU-Net. Default: cuda where available, else cpu.")


def run(arguments: argparse.Namespace) -> int:
    """Writes the work folder and says what to do with it."""
    from nnunet_pix2rep.annotation.selectors import DEFAULT_SELECTOR, STRUCTURE_SELECTOR
    from nnunet_pix2rep.annotation.suggest.request import Click, SuggestSettings
    from nnunet_pix2rep.annotation.suggest.run import suggest
    from nnunet_pix2rep.annotation.suggest.scans import NOT_PREPROCESSED
    from nnunet_pix2rep.config.seeds import check_seed
    from nnunet_pix2rep.devices import choose_device
    from nnunet_pix2rep.files import require_writable

    require_writable(arguments.o)
    check_seed(arguments.seed)
    settings = SuggestSettings(
        budget=arguments.cases if arguments.slices is None else arguments.slices,
        unit="cases" if arguments.slices is None else "slices",
        selector=arguments.selector or (STRUCTURE_SELECTOR if arguments.like else DEFAULT_SELECTOR),
        seed=arguments.seed,
        click=None if arguments.like is None else Click(*arguments.like),
        weighting=arguments.weigh,
        axis=None if arguments.axis is None else AXES.index(arguments.axis),
        fold=arguments.f,
        checkpoint=arguments.checkpoint,
        features=arguments.features,
        draft=arguments.draft,
        device=choose_device(arguments.device),
    )
    suggestion, notes = suggest(arguments.d, arguments.c, plans_name=arguments.p, output=arguments.o, settings=settings)
    print("\n".join(notes))
    print(
        f"{len(suggestion.slices)} slices of {len({entry.patient for entry in suggestion.slices})} patients to "
        f"annotate: {arguments.o}"
    )
    if suggestion.slices[-1].coverage is not None:
        whole = "all scans" if NOT_PREPROCESSED not in suggestion.pool else "the scans that are preprocessed"
        print(f"With them, annotated pixels represent {suggestion.slices[-1].coverage:.1%} of {whole}.")
    print(
        f"Look at overview.html there, draw in labels/ as worklist.csv says, then run\n  nnunet_pix2rep collect -i "
        f"{quote(str(arguments.o / 'labels'))} -d {arguments.d}"
    )
    return 0


def _click(text: str) -> tuple[str, tuple[int, ...]]:
    case, _, point = text.rpartition(":")
    try:
        place = tuple(int(part) for part in point.split(","))
    except ValueError:
        place = ()
    if not case or len(place) not in (2, 3):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form CASE:x,y,z (or CASE:x,y for 2D images)")
    return case, place


def _fold(text: str) -> int | str:
    if text != "all" and not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is neither the number of a fold nor all")
    return text if text == "all" else int(text)
