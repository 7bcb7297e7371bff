"""Arguments that the commands on features of a checkpoint share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_pix2rep.devices import DEVICES

if TYPE_CHECKING:
    from nnunet_pix2rep.nnunet.features.model import FeatureModel
    from nnunet_pix2rep.nnunet.in_context.classifier import InContextSettings

FEATURES = ("projected", "hypercolumn", "last_stage")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The checkpoint, which of its features, and where to compute them."""
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="Checkpoint of a pretraining, such as fold_0/checkpoint_final.pth; for other features than the projected "
        "ones also of a fine-tuning or of nnU-Net itself.",
    )
    parser.add_argument(
        "--features",
        choices=FEATURES,
        help="projected: after the projection head of the pretraining. hypercolumn: of all decoder stages, each "
        "normalized. last_stage: of the last one. Default: projected, where the checkpoint has a projection head, "
        "else hypercolumn.",
    )
    parser.add_argument(
        "--mirroring", action="store_true", help="Average features over mirrored images, as nnU-Net does in prediction."
    )
    parser.add_argument("-device", choices=DEVICES, help="As in nnU-Net. Default: cuda where available, else cpu.")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="Seed of all random choices. Default: 0.")
    parser.add_argument("--overwrite", action="store_true", help="Replace existing results.")


def load_model(arguments: argparse.Namespace) -> FeatureModel:
    """Loads the checkpoint of the arguments."""
    from nnunet_pix2rep.config.seeds import check_seed
    from nnunet_pix2rep.devices import choose_device
    from nnunet_pix2rep.nnunet.features.model import load_feature_model

    check_seed(arguments.seed)
    return load_feature_model(arguments.checkpoint, arguments.features, choose_device(arguments.device))


def add_voting_arguments(parser: argparse.ArgumentParser) -> None:
    """How pixels vote; the library sets the defaults, so they are None here."""
    parser.add_argument("-k", type=int, metavar="K", help="Nearest neighbors that vote. Default: 64.")
    parser.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="A neighbor of cosine similarity s weighs exp(s / T); large: all weigh the same. Default: 0.07.",
    )
    parser.add_argument(
        "--class-balance", action="store_true", help="Every class of the support weighs the same, however rare."
    )
    parser.add_argument(
        "--max-support",
        type=int,
        metavar="N",
        help="Most support pixels, shared evenly by the support images: their foreground (at most half, then a random "
        "part of it) and random background. Default: 20000.",
    )
    parser.add_argument(
        "--search",
        choices=("auto", "torch", "faiss"),
        default="auto",
        help="Exact search in torch or FAISS; the results are the same. Default: FAISS on CPUs where installed.",
    )
    parser.add_argument(
        "--tile-step-size", type=float, metavar="F", help="Distance of two tiles, in widths of a tile. Default: 0.5."
    )
    parser.add_argument(
        "--refine", action="store_true", help="Keep the largest component of each class (nnU-Net's post-processing)."
    )


def read_voting(arguments: argparse.Namespace) -> InContextSettings:
    """The settings of the arguments; raises UserError where one is out of range."""
    from nnunet_pix2rep.nnunet.in_context.classifier import InContextSettings

    names: tuple[str, ...] = ("k", "temperature", "class_balance", "max_support", "search", "tile_step_size", "refine")
    names += ("mirroring", "seed")
    given = {name: getattr(arguments, name) for name in names}
    return InContextSettings(**{name: value for name, value in given.items() if value is not None})
