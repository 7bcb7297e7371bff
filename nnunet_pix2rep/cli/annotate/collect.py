"""``nnunet_pix2rep collect``: takes finished labels into a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_pix2rep.cli.next_commands import device_option, for_each_configuration, plans_option
from nnunet_pix2rep.errors import UserError

if TYPE_CHECKING:
    from nnunet_pix2rep.annotation.collect.empty_slices import EmptySlices
    from nnunet_pix2rep.annotation.collect.run import CollectReport
    from nnunet_pix2rep.annotation.work_folder import Suggestion

HELP = "Check finished labels and take them into imagesTr and labelsTr of a dataset."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("-d", required=True, metavar="DATASET", help="Dataset number or name.")
    parser.add_argument(
        "-i",
        type=Path,
        metavar="FOLDER",
        help="Folder with the finished labels, such as labels/ of a folder that nnunet_pix2rep suggest wrote. Without "
        "it, partly annotated cases are preprocessed again where nnU-Net's own preprocessing has done it.",
    )
    parser.add_argument(
        "--allow-empty",
        nargs="*",
        metavar="CASE[:SLICE]",
        help="Take slices in which nothing is drawn as background: those that are named, counted from 0, or without "
        "names all that were to be annotated. Default: they are an error, but background in a scan that is annotated "
        "as a whole, once anything is drawn in it.",
    )
    parser.add_argument(
        "--leave-empty",
        action="store_true",
        help="Leave slices in which nothing is drawn or a draft is not changed, but for those that --allow-empty or "
        "--accept-drafts names, and scans without a label file, for a later collect. In a dataset without an ignore "
        "label only whole scans can be left.",
    )
    parser.add_argument(
        "--accept-drafts",
        nargs="*",
        metavar="CASE[:SLICE]",
        help="Take slices that are still the drafts of suggest --draft: those that are named, or without names all. "
        "Default: they are an error.",
    )
    parser.add_argument(
        "--put-back",
        nargs="+",
        default=[],
        metavar="CASE[:SLICE]",
        help="Take the folder's drawing of these slices though the dataset had it before and has newer labels now. "
        "Default: the newer ones are kept.",
    )
    parser.add_argument("--dry-run", action="store_true", help="Check everything and change nothing.")


def run(arguments: argparse.Namespace) -> int:
    """Collects, and prints what was taken and the next command."""
    from nnunet_pix2rep.annotation.collect.run import collect, preprocess_again

    if arguments.i is None:
        report = preprocess_again(arguments.d)
    else:
        report = collect(
            arguments.d,
            arguments.i,
            empty_slices=_empty_slices(arguments),
            named_empty=arguments.allow_empty or (),
            all_drafts_right=_are_all_drafts_right(arguments),
            right_drafts=arguments.accept_drafts or (),
            put_back=arguments.put_back,
            dry_run=arguments.dry_run,
        )
    _print_report(report, arguments.dry_run)
    if not arguments.dry_run:
        print(_next_command(report, arguments.d))
    return 0


def _empty_slices(arguments: argparse.Namespace) -> EmptySlices:
    """What becomes of slices in which nothing is drawn and that are not named."""
    all_are_background = arguments.allow_empty == []  # given without a name
    if arguments.leave_empty and all_are_background:
        raise UserError("With --leave-empty, name the slices that are done and empty: --allow-empty CASE:SLICE.")
    return "later" if arguments.leave_empty else "background" if all_are_background else "refuse"


def _are_all_drafts_right(arguments: argparse.Namespace) -> bool:
    """Whether slices that are still drafts are taken without being named."""
    all_are_right = arguments.accept_drafts == []  # given without a name
    if arguments.leave_empty and all_are_right:
        raise UserError("With --leave-empty, name the drafts that are right: --accept-drafts CASE:SLICE.")
    return all_are_right


def _print_report(report: CollectReport, dry_run: bool) -> None:
    for case, slices in report.slices.items():
        name = f" (from {report.renamed[case]})" if case in report.renamed else ""
        state = "" if case in report.changed else ", nothing new"
        print(f"{case}{name}: slice {', '.join(map(str, slices))}{state}")
    for note in report.notes:
        print(f"Note: {note}")
    if report.left:
        print(f"Left for later, nothing is drawn or corrected yet: {', '.join(report.left)}")
    if report.backup is not None:
        print(f"The labels that were replaced are kept in {report.backup}")
    for folder, cases in report.preprocessed.items():
        print(f"{folder}: {len(cases)} case(s) preprocessed")
    if report.outside_folds:
        print(
            f"Note: {len(report.outside_folds)} case(s) are not in splits_final.json, so numbered folds do not use "
            "them: train in fold all, or run nnunet_pix2rep split again."
        )
    what = "can be taken" if dry_run else "taken"
    if report.slices:
        print(
            f"{report.dataset}: {sum(map(len, report.slices.values()))} slices of {len(report.slices)} cases {what}, "
            f"{len(report.changed)} cases with new labels."
        )


def _next_command(report: CollectReport, dataset: str) -> str:
    if not report.preprocessed:
        # nnU-Net's own preprocessing loses annotated slices between ignored ones
        again = f", then nnunet_pix2rep collect -d {dataset}" if report.is_sparse else ""
        return f"Next: nnUNetv2_plan_and_preprocess -d {dataset}{again}"
    suggestion = report.suggestion
    training = "nnUNetv2_train {dataset} {{configuration}} all -tr {trainer}{{plans}}{device}"
    if suggestion is None:
        command = training.format(dataset=dataset, trainer="nnUNetTrainerPix2RepV2", device=device_option())
        return for_each_configuration(dataset, command)
    pretrained = _is_pretrained(report.dataset, suggestion)
    trainer = "nnUNetTrainerPix2RepFinetune" if pretrained else "nnUNetTrainerPix2RepV2"
    command = training.format(dataset=dataset, trainer=trainer, device=device_option())
    return "Next: " + command.format(configuration=suggestion.configuration, plans=plans_option(suggestion.plans))


def _is_pretrained(dataset_name: str, suggestion: Suggestion) -> bool:
    """Whether a fine-tuning in fold all finds a pretraining by itself."""
    from nnunetv2.paths import nnUNet_results

    from nnunet_pix2rep.nnunet.checkpoints.transfer import finished_pretrainings

    if not nnUNet_results.is_set():
        return False
    results = Path(nnUNet_results) / dataset_name
    return bool(finished_pretrainings(results, suggestion.plans, suggestion.configuration, "all"))
