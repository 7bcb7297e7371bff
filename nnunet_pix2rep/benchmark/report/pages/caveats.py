"""What weakens the conclusions of a benchmark, said in its report."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from nnunet_pix2rep.benchmark.design.methods import WEIGHTS_PREFIX
from nnunet_pix2rep.benchmark.report.numbers.analysis import SIGNIFICANCE_LEVEL
from nnunet_pix2rep.benchmark.report.numbers.statistics import smallest_p_value
from nnunet_pix2rep.benchmark.report.pages.formatting import effort_name

FEW_DRAWS = 5


def caveats(analysis: Mapping[str, Any]) -> list[str]:
    """Sentences about this very benchmark: few patients, few or overlapping draws, undefined values.

    Args:
        analysis: See :func:`nnunet_pix2rep.benchmark.report.numbers.analysis.analyze`.
    """
    return [_about_tests(analysis), *_about_draws(analysis), *_about_values(analysis)]


def _about_tests(analysis: Mapping[str, Any]) -> str:
    comparisons = analysis["comparisons"]
    if not comparisons:
        return f"Nothing could be compared with {analysis['settings']['reference']}: no common results yet."
    fewest = min(comparisons, key=lambda row: row["num_patients"])
    pairs, smallest = fewest["num_patients"], fewest["smallest_p_holm"]
    text = (
        f"{len(comparisons)} comparison(s) on {pairs} test patients: the smallest p-value that the signed-rank test "
        f"can give is {smallest_p_value(pairs):.2g}, after Holm's correction {smallest:.2g} for the first comparison"
    )
    if smallest >= SIGNIFICANCE_LEVEL:
        text += "; no difference, however large, can be significant"
    return f"{text}. The test takes the trained models as given: it says nothing about other draws."


def _about_draws(analysis: Mapping[str, Any]) -> list[str]:
    found = []
    draws, annotated = {len(row["draws"]) for row in analysis["dice"]}, effort_name(analysis["effort"])
    if draws == {1}:
        found.append(
            f"There is one draw of {annotated}: the intervals cover the test patients only, not how much the result "
            "depends on what was annotated or on the random numbers of the training."
        )
    elif min(draws - {1}) < FEW_DRAWS:
        found.append(
            f"Some numbers rest on {min(draws - {1})} draws of {annotated}: resampling so few gives intervals that "
            "tend to be too narrow (docs/explanation/statistics.md has a simulation)."
        )
    if analysis["effort"] == "slices" and draws != {1}:
        found.append(
            "The draws of a selector choose from the slices of the same patients: they differ less than draws from new "
            "patients would."
        )
    elif overlapping := _shots_with_overlapping_draws(analysis):
        found.append(
            f"The draws of {' and '.join(map(str, overlapping))} labeled patients share patients: they differ less "
            "than independent ones would, and the intervals tend to be too narrow."
        )
    if draws != {1} and (sharing := _methods_with_one_pretraining(analysis)):
        found.append(
            "All draws of a method start from one pretraining, whose random numbers no interval covers: "
            f"{', '.join(sharing)}."
        )
    if any(len(row["full_draws"]) == 1 for row in analysis["full_annotation"]):
        found.append("Full annotation is one training, whose random numbers no interval covers.")
    if any(row["share"] > 1 for row in analysis["full_annotation"]):
        found.append(
            "Some have a higher Dice with a part of the annotation than the best has with all of it, which annotation "
            "does not explain: it is chance, or the trainings are too short for full annotation."
        )
    return found


def _about_values(analysis: Mapping[str, Any]) -> list[str]:
    found = []
    if len(analysis["patients"]) < 2:
        found.append("There is one test patient: no interval can be given.")
    if analysis["undefined_dice"]:
        found.append(
            f"{analysis['undefined_dice']} value(s) of Dice are undefined (a class neither there nor predicted) and "
            "take no part in the means."
        )
    return found


def _shots_with_overlapping_draws(analysis: Mapping[str, Any]) -> list[int]:
    subsets = {(cell["shots"], cell["seed"]): {*cell["labelled_patients"]} for cell in analysis["cells"]}
    return [
        shots
        for shots in analysis["shots"]
        if any(a & b for a, b in combinations([names for (n, _), names in subsets.items() if n == shots], 2))
    ]


def _methods_with_one_pretraining(analysis: Mapping[str, Any]) -> list[str]:
    folders: dict[str, set[str]] = {}
    seeds: dict[str, set[int]] = {}
    for cell in analysis["cells"]:
        # Weights that were handed in are one pretraining, which has no folder in the benchmark.
        weights = cell["method"] if cell["method"].startswith(WEIGHTS_PREFIX) else None
        if (pretraining := cell["pretraining_folder"] or weights) is not None:
            folders.setdefault(cell["method"], set()).add(pretraining)
            seeds.setdefault(cell["method"], set()).add(cell["seed"])
    return [method for method in folders if len(folders[method]) == 1 and len(seeds[method]) > 1]
