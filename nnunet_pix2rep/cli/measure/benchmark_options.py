"""The arguments of ``nnunet_pix2rep benchmark``."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_pix2rep.benchmark.design.methods import DEFAULT_METHODS, METHODS, WEIGHTS_PREFIX


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments; defaults that the library sets are None here."""
    _add_matrix_arguments(parser)
    place = parser.add_argument_group("where and how to run")
    place.add_argument(
        "--device",
        metavar="DEVICE",
        help="cpu, cuda or mps. Default: a GPU where there is one, and for --cluster and --dry-run.",
    )
    place.add_argument("--jobs", type=int, metavar="N", help="Runs at a time on this machine. Default: 1.")
    place.add_argument(
        "--devices", nargs="+", metavar="GPU", help="CUDA_VISIBLE_DEVICES of the jobs, such as 0 1. Implies --jobs."
    )
    place.add_argument(
        "--in-process",
        action="store_true",
        help="Call nnU-Net's trainers and predictors in one process for each job, which starts up once, instead of "
        "running its commands; the same results, sooner where trainings are short. Not for --cluster and --dry-run.",
    )
    place.add_argument(
        "--cluster",
        choices=("slurm", "local"),
        help="Submit every run as a job by submitit (pip install 'nnunet_pix2rep[slurm]'), and return. Repeat the "
        "command when the jobs are done.",
    )
    place.add_argument(
        "--cluster-options",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="submitit's parameters, such as slurm_partition=gpu timeout_min=600 gpus_per_node=1 cpus_per_task=12.",
    )
    place.add_argument(
        "--dry-run",
        action="store_true",
        help="Make the folder and print the commands that are left with their environment, for a cluster's own "
        "scripts; run nothing. What such commands have done is found when the benchmark is run.",
    )
    place.add_argument(
        "--reference",
        metavar="METHOD",
        help="What the report compares with. Default: scratch, or the first method where it is not in the benchmark.",
    )
    place.add_argument("--report-only", action="store_true", help="Write the report of what is there, and run nothing.")
    place.add_argument("--no-images", action="store_true", help="Leave images of patients out of the report.")
    place.add_argument(
        "-o", required=True, type=Path, metavar="DIR", help="Folder of the benchmark; one that was interrupted goes on."
    )


def _add_matrix_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", metavar="DATASET", help="Dataset number or name; needed unless --report-only.")
    parser.add_argument("-c", metavar="CONFIGURATION", help="Preprocessed configuration, such as 2d.")
    parser.add_argument("-p", default="nnUNetPlans", metavar="PLANS", help="Plans. Default: %(default)s.")
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="METHOD",
        help=f"{', '.join(METHODS)}, {WEIGHTS_PREFIX}PATH. Default: {' '.join(DEFAULT_METHODS)}.",
    )
    parser.add_argument(
        "--shots",
        nargs="+",
        type=_number_or_all,
        metavar="N",
        help="Numbers of labeled patients, or all. Default: 1 2 5 10 all, as far as there are patients.",
    )
    parser.add_argument(
        "--budget",
        nargs="+",
        type=_number_or_all,
        metavar="N",
        help="Numbers of annotated slices, in place of --shots: effort is counted in slices, which --select spreads "
        "over the patients. all: every slice that has labels, in one draw.",
    )
    parser.add_argument(
        "--select",
        nargs="+",
        metavar="SELECTOR",
        help="What chooses the slices of a --budget: random_patients (whole scans of random patients), random, "
        "one_per_patient, fixed_interval, middle, and, by the features of a Pix2Rep-v2 pretraining, typical, coverage, "
        "kmeans. Default: random_patients random one_per_patient.",
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="Draws of patients or slices for each number. Default: 3."
    )
    parser.add_argument(
        "--iterations", type=int, metavar="N", help="Steps of the supervised stage. Default: as the plans say."
    )
    parser.add_argument(
        "--pretraining-iterations", type=int, metavar="N", help="Steps of a pretraining. Default: as the plans say."
    )
    parser.add_argument(
        "--test",
        type=_test,
        metavar="TEST",
        help="Folder with imagesTs and labelsTs, or a number of the dataset's patients (10) or a part of them (0.3), "
        "drawn as nnunet_pix2rep split draws validation patients. Default: 0.3.",
    )
    parser.add_argument("--seed", type=int, metavar="SEED", help="Seed of the draws of patients. Default: 12345.")
    _add_further_arguments(parser)


def _add_further_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--train-patients",
        nargs="+",
        metavar="NAME",
        help="Labeled patients by name, in place of random ones: --shots 3 labels the first three of them.",
    )
    parser.add_argument(
        "--test-patients", nargs="+", metavar="NAME", help="Test patients of the dataset by name, in place of --test."
    )
    parser.add_argument("--patient-regex", metavar="REGEX", help="As in nnunet_pix2rep split.")
    parser.add_argument(
        "--pretraining-per-seed", action="store_true", help="A pretraining with a seed of its own for each draw."
    )
    parser.add_argument(
        "--surface-tolerance", type=float, metavar="MM", help="Tolerance of the surface Dice in mm. Default: 2."
    )


def _number_or_all(text: str) -> int | str:
    if text == "all":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is neither a whole number nor "all"') from None


def _test(text: str) -> int | float | Path:
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return Path(text)
