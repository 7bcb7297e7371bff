"""All numbers of the report: the content of ``results.json``; docs/reference/benchmark-files.md has its schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nnunet_pix2rep.benchmark.report.numbers.aggregation import Scores, Setting, num_undefined, paired, patient_scores
from nnunet_pix2rep.benchmark.report.numbers.annotation_saving import SavingData, bounded, patients_needed, saving_data
from nnunet_pix2rep.benchmark.report.numbers.full_annotation import (
    best_full_annotation,
    share_data,
    share_distribution,
    share_row,
)
from nnunet_pix2rep.benchmark.report.numbers.statistics import (
    Interval,
    bootstrap_means,
    holm,
    interval_of,
    percentile_interval,
    signed_rank,
    smallest_p_value,
)
from nnunet_pix2rep.benchmark.report.reading.completeness import cell_records, completeness, missing_draws, number
from nnunet_pix2rep.benchmark.report.reading.results import BenchmarkResults
from nnunet_pix2rep.benchmark.schema import ALL_SLICES, METRICS, arm_of, selector_of
from nnunet_pix2rep.errors import UserError

FORMAT_VERSION = 1
SIGNIFICANCE_LEVEL = 0.05
STOCK, WHOLE_SCANS = "scratch", "random_patients"


@dataclass(frozen=True)
class ReportSettings:
    """What the statistics depend on beside the results.

    Attributes:
        reference: Method that the others are compared with.
        confidence: Of the intervals, between 0 and 1.
        num_resamples: Bootstrap resamples.
        seed: Seed of the resampling.
    """

    reference: str = "scratch"
    confidence: float = 0.95
    num_resamples: int = 10_000
    seed: int = 12345

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise UserError(f"confidence must lie between 0 and 1, but is {self.confidence}.")
        if self.num_resamples < 1:
            raise UserError(f"num_resamples must be at least 1, but is {self.num_resamples}.")


def default_reference(methods: Sequence[str]) -> str:
    """What is compared with unless the user says so.

    The stock trainer, where slices are counted on whole scans of random patients; without it the first method.
    """
    wanted = [arm_of(STOCK, selector) for selector in (None, WHOLE_SCANS)]
    wanted += [name for name in methods if selector_of(name) != ALL_SLICES]  # which has nothing to be compared with
    return next((name for name in wanted if name in methods), methods[0])


def analyze(benchmark: BenchmarkResults, settings: ReportSettings) -> dict[str, Any]:
    """Computes everything that the report shows; plain values, None where something is undefined.

    Raises:
        UserError: the reference is no method of this benchmark.
    """
    _check_reference(benchmark, settings.reference)
    return {
        "format_version": FORMAT_VERSION,
        "settings": asdict(settings),
        "benchmark": dict(benchmark.description),
        "effort": benchmark.effort,
        "methods": benchmark.methods,
        "shots": benchmark.shots,
        "classes": benchmark.classes,
        "patients": benchmark.patients,
        "completeness": completeness(benchmark),
        **_dice_tables(benchmark, settings),
        "dice_per_class": [
            row | {"class": name}
            for name in benchmark.classes
            for row in _mean_table(patient_scores(benchmark, "dice", name), settings)
        ],
        **{metric: _metric_table(benchmark, metric, settings) for metric in METRICS[1:]},
        "undefined_dice": sum(num_undefined(benchmark, "dice").values()),
        "cells": cell_records(benchmark),
    }


def _check_reference(benchmark: BenchmarkResults, reference: str) -> None:
    known = list(dict.fromkeys([*benchmark.description["methods"], *benchmark.methods]))
    if reference not in known:
        raise UserError(f"The reference {reference!r} is no method of this benchmark, which has {', '.join(known)}.")


def _dice_tables(benchmark: BenchmarkResults, settings: ReportSettings) -> dict[str, Any]:
    """Means, comparisons and saving factors over the same resamples."""
    dice = patient_scores(benchmark)
    missing = missing_draws(benchmark)
    shares = share_data(dice, best_full_annotation(benchmark, dice))
    differences, savings = {}, {}
    for method, shots in dice:
        if method == settings.reference:
            continue
        if (settings.reference, shots) in dice:
            difference = paired(dice[method, shots], dice[settings.reference, shots])
            if difference.num_patients > 0:
                differences[method, shots] = difference
        data = saving_data(dice, settings.reference, (method, shots), missing)
        if data is not None and selector_of(method) != ALL_SLICES:
            savings[method, shots] = data
    tables: dict[tuple[Any, ...], Scores] = {("dice", key): table for key, table in dice.items()}
    tables |= {("difference", key): table for key, table in differences.items()}
    tables |= {("target", key): data.target for key, data in savings.items()}
    tables |= {
        ("curve", key, shots): table
        for key, data in savings.items()
        for shots, table in zip(data.numbers, data.curve, strict=True)
    }
    tables |= {("part", key): data.scores for key, data in shares.items()}
    tables |= {("full", key): data.full for key, data in shares.items()}
    means = bootstrap_means(tables, settings.num_resamples, settings.seed)
    return {
        "dice": _mean_table(dice, settings, {key: means["dice", key] for key in dice}),
        "full_annotation": [
            share_row(key, data, _ends(interval_of(data.with_most_draws, distribution, settings.confidence)))
            for key, data in shares.items()
            for distribution in [share_distribution(means["part", key], means["full", key])]
        ],
        "comparisons": _comparisons(
            dice, differences, {key: means["difference", key] for key in differences}, settings
        ),
        "annotation_saving": [_saving(key, data, means, settings) for key, data in savings.items()],
    }


def _mean_table(
    tables: Mapping[Setting, Scores], settings: ReportSettings, means: Mapping[Setting, Any] | None = None
) -> list[dict[str, Any]]:
    if means is None:
        means = bootstrap_means(tables, settings.num_resamples, settings.seed)
    return [
        {
            "method": key[0],
            "shots": key[1],
            "draws": list(table.draws),
            "num_patients": table.num_patients,
            "mean": number(table.mean),
            **_ends(interval_of(table, means[key], settings.confidence)),
            "mean_per_draw": [number(value) for value in table.draw_means],
        }
        for key, table in tables.items()
    ]


def _metric_table(benchmark: BenchmarkResults, metric: str, settings: ReportSettings) -> list[dict[str, Any]]:
    """The table of a further metric, empty where it was not measured."""
    if benchmark.results[metric].isna().all():
        return []
    undefined = num_undefined(benchmark, metric)
    rows = _mean_table(patient_scores(benchmark, metric), settings)
    return [row | {"undefined_values": undefined[row["method"], row["shots"]]} for row in rows]


def _comparisons(
    dice: Mapping[Setting, Scores],
    differences: Mapping[Setting, Scores],
    means: Mapping[Setting, Any],
    settings: ReportSettings,
) -> list[dict[str, Any]]:
    tests = {key: test for key, table in differences.items() if (test := signed_rank(table.patient_means)) is not None}
    adjusted = holm([test.p_value for test in tests.values()])
    rows = []
    for ((method, shots), table), p_holm in zip(differences.items(), adjusted, strict=True):
        test = tests[method, shots]
        left_out = {*dice[method, shots].draws, *dice[settings.reference, shots].draws} - {*table.draws}
        rows.append(
            {
                "method": method,
                "reference": settings.reference,
                "shots": shots,
                "draws": list(table.draws),
                "draws_left_out": sorted(left_out),
                "num_patients": test.num_pairs,
                "difference": number(table.mean),
                **_ends(interval_of(table, means[method, shots], settings.confidence)),
                "better": test.better,
                "worse": test.worse,
                "statistic": test.statistic,
                "p_value": test.p_value,
                "p_holm": p_holm,
                "smallest_p_holm": min(1.0, smallest_p_value(test.num_pairs) * len(tests)),
                "significant": p_holm < SIGNIFICANCE_LEVEL,
            }
        )
    return rows


def _saving(setting: Setting, data: SavingData, means: Mapping[Any, Any], settings: ReportSettings) -> dict[str, Any]:
    method, shots = setting
    curve = [table.mean for table in data.curve]
    relation, factor = bounded(float(patients_needed(data.numbers, curve, data.target.mean)), data.numbers, shots)
    distribution = patients_needed(
        data.numbers,
        [means["curve", setting, shots_of_point] for shots_of_point in data.numbers],
        means["target", setting],
    )
    interval = None
    if data.target.num_patients > 1:
        ends = percentile_interval(distribution, settings.confidence)
        interval = [dict(zip(("relation", "value"), bounded(end, data.numbers, shots), strict=True)) for end in ends]
    several = any(len(table.draws) > 1 for table in (data.target, *data.curve))
    return {
        "method": method,
        "reference": settings.reference,
        "shots": shots,
        "draws": list(data.target.draws),
        "num_patients": data.target.num_patients,
        "dice": number(data.target.mean),
        "factor": {"relation": relation, "value": factor},
        "patients_needed": {"relation": relation, "value": factor * shots},
        "low": interval[0] if interval else None,
        "high": interval[1] if interval else None,
        "interval_covers": None if interval is None else ("patients and draws" if several else "patients"),
        "provisional": data.provisional,
        "reference_curve": [
            {"shots": shots_of_point, "dice": number(score), "draws": list(table.draws)}
            for shots_of_point, score, table in zip(data.numbers, curve, data.curve, strict=True)
        ],
    }


def _ends(interval: Interval | None) -> dict[str, Any]:
    if interval is None:
        return {"low": None, "high": None, "interval_covers": None}
    return {"low": number(interval.low), "high": number(interval.high), "interval_covers": interval.covers}
