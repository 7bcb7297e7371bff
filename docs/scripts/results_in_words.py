"""The sentences and tables of results that ``front_page.py`` writes, with the figures of ``results_shown.py``."""

from __future__ import annotations

import textwrap

import pandas as pd
from results_shown import (
    ACDC_LONGER,
    ACDC_SLICES,
    BOTH,
    BOTH_DRAWS,
    BUDGET,
    COMPACT_DRAWS,
    COMPACT_NOW,
    COMPACT_STEPS,
    HIPPOCAMPUS_SLICES,
    LONGER,
    LONGER_FINE_TUNING,
    PATIENTS,
    PIX2REP,
    RANDOM,
    ROOT,
    SCHEDULE,
    SLICES,
    SPREAD,
    STOCK,
    SUPERVISED,
    TWICE,
    WHOLE,
    Setting,
    gain,
    gain_by_slices,
    longer_fine_tuning,
    mean_dice,
    of_all_slices,
    scores,
    start_elsewhere,
)


def results_table() -> str:
    """The table of both pages: mean Dice of ten test patients, without intervals."""
    patients, slices = [Setting(1), Setting(5), Setting(20)], [Setting(selector=WHOLE), Setting(selector=SPREAD)]
    lines = [
        f"| mean Dice, ten test patients | 1 patient | 5 | 20 | {BUDGET} slices: 1 or 2 patients | "
        f"{BUDGET} slices: many patients |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for title, method, of_patients, of_slices in (
        ("nnU-Net's own trainer", STOCK, PATIENTS, SLICES),
        ("our fine-tuning, random weights", SCHEDULE, PATIENTS, SLICES),
        ("our fine-tuning after Pix2Rep-v2", PIX2REP, PATIENTS, SLICES),
        ("the same, four times the pretraining", PIX2REP, LONGER, None),
    ):
        cells = [mean_dice(of_patients, method, setting) for setting in patients]
        if of_slices is not None:
            cells += [mean_dice(of_slices, method, setting) for setting in slices]
        texts = [f"{cell:.2f}" for cell in cells] + ["not run"] * (len(patients) + len(slices) - len(cells))
        lines.append(f"| {title} | {' | '.join(texts)} |")
    return "\n".join(lines)


def slices_table() -> str:
    """The same number of annotated slices by where they lie, mean Dice of the draws."""
    columns = [(folder, method) for folder in (SLICES, ACDC_SLICES) for method in (SCHEDULE, PIX2REP)]
    lines = [
        f"| {BUDGET} annotated slices | Sunnybrook, random weights | after Pix2Rep-v2 | ACDC, random weights | "
        "after Pix2Rep-v2 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for title, selector in (
        ("whole scans of random patients", WHOLE),
        ("random slices of all patients", RANDOM),
        ("a slice of each patient, positions spread", SPREAD),
    ):
        cells = []
        for folder, method in columns:
            if (folder, selector) == (ACDC_SLICES, RANDOM):
                cells.append("not run")
                continue
            draws = scores(folder, method, Setting(selector=selector)).mean(axis=1)
            cells.append(f"{draws.mean():.2f} ({len(draws)} draws)")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def headline() -> str:
    """The finding in one sentence: all that this package does against what one would do without it."""
    spread = [f"{mean_dice(folder, PIX2REP, Setting(selector=SPREAD)):.2f}" for folder in (SLICES, ACDC_LONGER)]
    whole = [f"{mean_dice(folder, STOCK, Setting(selector=WHOLE)):.2f}" for folder in (SLICES, ACDC_SLICES)]
    longer = [
        f"{longer_fine_tuning(folder, PIX2REP, draws=BOTH_DRAWS):.2f} and "
        f"{longer_fine_tuning(folder, STOCK, WHOLE, BOTH_DRAWS):.2f}"
        for folder in (SLICES, ACDC_LONGER)
    ]
    return textwrap.fill(
        f"On cardiac MRI, **{BUDGET} annotated slices spread over many patients gave a Dice of {spread[0]} (one "
        f"structure) and {spread[1]} (three) after pretraining; {BUDGET} slices of one or two whole patients gave "
        f"{whole[0]} and {whole[1]} with nnU-Net's own trainer.** All in 400 steps, on other patients. "
        f"More steps: {longer[0]} after {LONGER_FINE_TUNING[SLICES]:,}, {longer[1]} after "
        f"{LONGER_FINE_TUNING[ACDC_LONGER]:,} (two draws).",
        118,
    )


def findings() -> str:
    """Where the gain comes from."""
    folders = (SLICES, ACDC_SLICES)
    by_slices = {folder: [gain_by_slices(folder, method) for method in (PIX2REP, SCHEDULE)] for folder in folders}
    ranges = [sorted(difference for difference, _, _ in by_slices[folder]) for folder in folders]
    hippocampus, hippocampus_better, hippocampus_patients = gain_by_slices(HIPPOCAMPUS_SLICES, SCHEDULE)
    better = sum(min(better for _, better, _ in by_slices[folder]) for folder in folders) + hippocampus_better
    patients = sum(by_slices[folder][0][2] for folder in folders) + hippocampus_patients
    schedule = [gain(PATIENTS, SCHEDULE, STOCK, Setting(shots)) for shots in (1, 20)]
    stock_draws = scores(SLICES, STOCK, Setting(selector=SPREAD)).mean(axis=1)
    by_patients = [gain(PATIENTS, PIX2REP, SCHEDULE, Setting(shots)) for shots in (1, 2, 5, 20)]
    whole = [gain(folder, PIX2REP, SCHEDULE, Setting(selector=WHOLE)) for folder in folders]
    spread = [gain(folder, PIX2REP, SCHEDULE, Setting(selector=SPREAD)) for folder in (SLICES, ACDC_LONGER)]
    longer = {method: longer_fine_tuning(SLICES, method) for method in (STOCK, SCHEDULE, PIX2REP)}
    longer_whole = longer_fine_tuning(SLICES, STOCK, WHOLE)
    methods = (SCHEDULE, PIX2REP)
    acdc = {method: longer_fine_tuning(ACDC_LONGER, method, draws=COMPACT_DRAWS) for method in methods}
    faster, faster_acdc = (
        {method: longer_fine_tuning(folder, method, file=COMPACT_NOW, iterations=COMPACT_STEPS) for method in methods}
        for folder in (SLICES, ACDC_LONGER)
    )
    both, twice = (start_elsewhere("both_datasets.csv", weights, BUDGET) for weights in (BOTH, TWICE))
    unchanged, few, spread_slices = (
        start_elsewhere("public_labels.csv", SUPERVISED, budget) for budget in (0, 6, BUDGET)
    )
    steps, steps_acdc = LONGER_FINE_TUNING[SLICES], LONGER_FINE_TUNING[ACDC_LONGER]
    sentences = (
        f"**What you annotate: {ranges[0][0]:+.2f} to {ranges[0][1]:+.2f} Dice on Sunnybrook, {ranges[1][0]:+.2f} to "
        f"{ranges[1][1]:+.2f} on ACDC, {hippocampus:+.2f} on the hippocampus in 2D.** {BUDGET} slices of many patients "
        f"against {BUDGET} slices of one or two, in the same training: better in {better} of {patients} test patients. "
        f"After {steps:,} steps of nnU-Net's own trainer on Sunnybrook {longer[STOCK] - longer_whole:+.2f}, within "
        "chance. `suggest` spreads them for you.",
        f"**How you fine-tune: {schedule[0]:+.2f} with one labeled patient, {schedule[1]:+.2f} with twenty,** over "
        "nnU-Net's own trainer, 400 steps; of spread slices it learned next to nothing in "
        f"{(stock_draws < 0.1).sum()} of {len(stock_draws)} draws. **More steps level them:** after "
        f"{steps:,} {longer[STOCK]:.2f}, ours {longer[SCHEDULE]:.2f} (Sunnybrook, two draws). **Today's "
        f"compact plans, faster, slices deformed:** {faster[SCHEDULE]:.2f} after {COMPACT_STEPS:,}, all slices "
        f"{of_all_slices():.2f}.",
        f"**The pretraining: {spread[0]:+.2f} on Sunnybrook and {spread[1]:+.2f} on ACDC with spread slices,** over "
        f"random weights, two pretrainings each; {whole[0]:+.2f} and {whole[1]:+.2f} with slices of one or two "
        f"patients; {min(by_patients):+.2f} to {max(by_patients):+.2f} with one to twenty whole patients, in other "
        f"draws. **It may only save steps:** after {steps_acdc:,} on ACDC {acdc[PIX2REP]:.2f} with it and "
        f"{acdc[SCHEDULE]:.2f} without (three draws), {faster_acdc[PIX2REP]:.2f} and {faster_acdc[SCHEDULE]:.2f} "
        f"with these; on Sunnybrook {faster[PIX2REP]:.2f} and {faster[SCHEDULE]:.2f}. **First on ACDC, then on "
        f"Sunnybrook:** {both:.2f} after 400, as long on Sunnybrook alone {twice:.2f}.",
        "**Labels of another hospital gave the most.** Trained on those of ACDC, which outline the ventricle too, a "
        f"network had {unchanged:.2f} on Sunnybrook as it was, {spread_slices:.2f} after 400 steps on {BUDGET} spread "
        f"slices, {few:.2f} on six.",
    )
    return "\n".join(
        textwrap.fill(
            f"{number}. {sentence}", 118, subsequent_indent="   ", break_long_words=False, break_on_hyphens=False
        )
        for number, sentence in enumerate(sentences, start=1)
    )


def demo_table() -> str:
    """What the demo reached with each seed; ``docs/benchmarks/demo/seeds.csv`` is of its ``summary.json``."""
    runs = pd.read_csv(ROOT / "docs" / "benchmarks" / "demo" / "seeds.csv")
    titles = {
        "scratch": "one patient, from scratch",
        "pix2rep": "one patient, Pix2Rep",
        "suggested": "suggested slices, Pix2Rep",
    }
    lines = [f"| seed | slices | {' | '.join(titles.values())} |", "| --- | --- | --- | --- | --- |"]
    for (seed, slices), run in runs.groupby(["seed", "slices"]):
        dice = run.set_index("method").dice
        lines.append(f"| {seed} | {slices} | {' | '.join(f'{dice[method]:.2f}' for method in titles)} |")
    return "\n".join(lines)
