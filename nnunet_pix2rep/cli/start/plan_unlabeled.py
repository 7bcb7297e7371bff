"""``nnunet_pix2rep plan_unlabeled``: fingerprint, plans and preprocessing from images alone."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunet_pix2rep.cli.next_commands import before_annotating, plans_option
from nnunet_pix2rep.cli.start.preprocess_unlabeled import positive_number, print_report

if TYPE_CHECKING:
    from nnunet_pix2rep.annotation.start.plan_unlabeled import Planned

HELP = "Plan and preprocess a dataset from its images alone, by nnU-Net's own extractor and planners."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments, named as in nnU-Net."""
    parser.add_argument("-d", required=True, metavar="DATASET", help="Dataset number or name.")
    parser.add_argument(
        "-c",
        required=True,
        nargs="+",
        action="extend",
        metavar="CONFIGURATION",
        help="Configurations to preprocess, such as 2d 3d_fullres.",
    )
    parser.add_argument(
        "-pl", default="ExperimentPlanner", metavar="PLANNER", help="nnU-Net's planner. Default: %(default)s."
    )
    parser.add_argument("-gpu_memory_target", type=float, metavar="GB", help="As in nnUNetv2_plan_experiment.")
    parser.add_argument(
        "-overwrite_target_spacing",
        type=float,
        nargs=3,
        metavar="MM",
        help="Spacing of 3d_fullres, as in nnUNetv2_plan_experiment.",
    )
    parser.add_argument("-overwrite_plans_name", metavar="PLANS", help="Name of the plans. Default: the planner's.")
    parser.add_argument(
        "--replan", action="store_true", help="Extract the fingerprint and plan again, although that was done."
    )
    parser.add_argument("--no_pp", action="store_true", help="Plan only, preprocess nothing.")
    parser.add_argument(
        "-np",
        type=positive_number,
        metavar="N",
        help="Number of processes. Default: nnU-Net's, nnUNet_def_n_proc or 8.",
    )


def run(arguments: argparse.Namespace) -> int:
    """Plans, preprocesses and prints what was done; exit code 1 if a scan could not be used."""
    from nnunet_pix2rep.annotation.start.plan_unlabeled import PlannerOptions, plan_unlabeled

    options = PlannerOptions(
        arguments.pl, arguments.gpu_memory_target, arguments.overwrite_target_spacing, arguments.overwrite_plans_name
    )
    planned = plan_unlabeled(
        arguments.d,
        arguments.c,
        options,
        replan=arguments.replan,
        preprocess=not arguments.no_pp,
        num_processes=arguments.np,
    )
    for report in planned.reports.values():
        print_report(report)
    _print_plans(planned)
    _print_foreground(planned, arguments)
    _print_next(planned, arguments)
    problems = planned.foreground.problems if planned.foreground is not None else {}
    return 1 if problems or any(report.failures for report in planned.reports.values()) else 0


def _print_plans(planned: Planned) -> None:
    if planned.foreground is not None:
        for name, problem in sorted(planned.foreground.problems.items()):
            print(f"Left out of the fingerprint: {name}: {problem}")
        print(f"Fingerprint of {len(planned.foreground.scans)} scans, from images alone.")
    done = "Wrote" if planned.is_new else "Kept the plans that are there (--replan makes new ones):"
    print(f"{done} {planned.plans_file}")


def _print_foreground(planned: Planned, arguments: argparse.Namespace) -> None:
    from nnunet_pix2rep.annotation.start.fingerprint import channel_names, ct_channels
    from nnunet_pix2rep.files import read_json

    dataset_json = read_json(planned.plans_file.parent / "dataset.json")
    by_intensity = ct_channels(dataset_json)
    if planned.from_body:
        print(
            "Foreground intensities are not known without annotations: they are those of the body (voxels above Otsu's "
            "threshold, holes filled)."
        )
    if planned.from_body and by_intensity:
        again = f"plan_unlabeled -d {arguments.d} -c {' '.join(arguments.c)} --replan"
        print(
            f"nnU-Net normalizes {', '.join(by_intensity)} by them. The plans stay valid when labels come. For the "
            "intensities of what is annotated, plan again then, under another name, and pretrain again: "
            f"nnunet_pix2rep {again} -overwrite_plans_name {planned.plans_file.stem}2"
        )
    elif planned.from_body:
        print("nnU-Net normalizes no channel by them, so nothing needs to be planned again when labels come.")
    scans = planned.foreground.scans if planned.foreground is not None else []
    for index, name in enumerate(channel_names(dataset_json)):
        if name not in by_intensity and any(scan.looks_like_ct[index] for scan in scans):
            print(
                f"Warning: channel {index} has values below -500, as only CT has, but is called {name}, not CT. If it "
                "is CT, correct channel_names in dataset.json of the raw dataset, then use --replan."
            )


def _print_next(planned: Planned, arguments: argparse.Namespace) -> None:
    from nnunetv2.utilities.dataset_name_id_conversion import convert_dataset_name_to_id

    from nnunet_pix2rep.files import read_json

    number = convert_dataset_name_to_id(planned.plans_file.parent.name)  # nnUNetv2_preprocess takes no name
    plans_name = planned.plans_file.stem
    print("Next:")
    if planned.num_labeled and planned.is_new:
        print(f"  nnUNetv2_preprocess -d {number} -plans_name {plans_name} -c {' '.join(arguments.c)}")
        if "ignore" in read_json(planned.plans_file.parent / "dataset.json")["labels"]:
            print(f"  nnunet_pix2rep collect -d {number}  # partly annotated cases, which nnU-Net's own does less well")
    if arguments.no_pp:
        for configuration in arguments.c:
            print(f"  nnunet_pix2rep preprocess_unlabeled -d {number} -c {configuration}{plans_option(plans_name)}")
    print("\n".join(before_annotating(number, arguments.c, plans_name, arguments.c[0])))
