"""The sentences and tables of results that ``front_page.py`` writes, with the figures of ``results_shown.py``."""

from __future__ import annotations

import textwrap

import pandas as pd
from results_shown import (
    ACDC,
    ACDC_LONGER,
    ACDC_SLICES,
    ALL,
    ALL_OF,
    BOTH,
    BUDGET,
    HIPPOCAMPUS_SLICES,
    NOW_400,
    PATIENTS,
    PIX2REP,
    RANDOM,
    ROOT,
    SCHEDULE,
    SLICES,
    SPREAD,
    STEPS,
    STOCK,
    SUNNYBROOK,
    SUPERVISED,
    TWICE,
    WHOLE,
    NotRunError,
    Setting,
    full_annotation,
    gain,
    gain_by_slices,
    mean_dice,
    scores,
    start_elsewhere,
    with_steps,
)

NOT_RUN = "not run"


def results_table() -> str:
    """The table of both pages: mean Dice of ten test patients of Sunnybrook and 15 of ACDC, without intervals."""
    columns = {
        "Sunnybrook: 6 slices": (SUNNYBROOK, Setting(selector=SPREAD, budget=6)),
        f"{BUDGET}: 1 or 2 patients": (SUNNYBROOK, Setting(selector=WHOLE)),
        f"{BUDGET}": (SUNNYBROOK, Setting(selector=SPREAD)),
        f"all {ALL_OF[SUNNYBROOK]}": (SUNNYBROOK, Setting(selector=ALL, budget=ALL_OF[SUNNYBROOK])),
        f"ACDC: {BUDGET}": (ACDC, Setting(selector=SPREAD)),
        "50": (ACDC, Setting(selector=SPREAD, budget=50)),
        f"all {ALL_OF[ACDC]:,}": (ACDC, Setting(selector=ALL, budget=ALL_OF[ACDC])),
    }
    lines = [f"| mean Dice | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for title, method in (
        ("nnU-Net's own trainer", STOCK),
        ("our fine-tuning, random weights", SCHEDULE),
        ("our fine-tuning after Pix2Rep-v2", PIX2REP),
    ):
        cells = [dice_text(folder, method, setting) for folder, setting in columns.values()]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def dice_text(folder: str, method: str, setting: Setting) -> str:
    """The mean Dice of a cell of the table, if there is one."""
    try:
        return f"{mean_dice(folder, method, setting):.2f}"
    except NotRunError:
        return NOT_RUN


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
                cells.append(NOT_RUN)
                continue
            draws = scores(folder, method, Setting(selector=selector)).mean(axis=1)
            cells.append(f"{draws.mean():.2f} ({len(draws)} draws)")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def headline() -> str:
    """The finding in one sentence: all that this package does against what one would do without it."""
    spread, acdc = (mean_dice(folder, SCHEDULE, Setting(selector=SPREAD)) for folder in (SUNNYBROOK, ACDC))
    fifty = mean_dice(ACDC, SCHEDULE, Setting(selector=SPREAD, budget=50))
    whole, stock = (mean_dice(SUNNYBROOK, method, Setting(selector=WHOLE)) for method in (SCHEDULE, STOCK))
    stock_acdc = with_steps(ACDC_LONGER, STOCK, STEPS, WHOLE)
    return textwrap.fill(
        f"On cardiac MRI, **{BUDGET} annotated slices spread over many patients gave a Dice of {spread:.2f} with our "
        f"fine-tuning, all {ALL_OF[SUNNYBROOK]} slices {full_annotation(SUNNYBROOK):.2f} at best; {BUDGET} slices of "
        f"one or two whole patients gave {whole:.2f}, with nnU-Net's own trainer {stock:.2f}.** On ACDC, three "
        f"structures: {acdc:.2f} with {BUDGET} slices, {fifty:.2f} with 50 (two draws), {full_annotation(ACDC):.2f} "
        f"with all {ALL_OF[ACDC]:,}; {stock_acdc:.2f} with {BUDGET} of whole patients and nnU-Net's own trainer. All "
        f"after {STEPS:,} steps, on patients who were not trained on.",
        118,
    )


def findings() -> str:
    """Where the gain comes from."""
    sentences = (about_slices(), about_fine_tuning(), about_pretraining(), about_public_labels())
    return "\n".join(
        textwrap.fill(
            f"{number}. {sentence}", 118, subsequent_indent="   ", break_long_words=False, break_on_hyphens=False
        )
        for number, sentence in enumerate(sentences, start=1)
    )


def about_slices() -> str:
    """Spread slices against those of whole patients, in the same training."""
    now = [gain_by_slices(SUNNYBROOK, method) for method in (STOCK, SCHEDULE, PIX2REP)]
    older = [gain_by_slices(ACDC_SLICES, method) for method in (SCHEDULE, PIX2REP)]
    hippocampus = gain_by_slices(HIPPOCAMPUS_SLICES, SCHEDULE)
    better = [min(better for _, better, _ in runs) for runs in (now, older, [hippocampus])]
    patients = [runs[0][2] for runs in (now, older, [hippocampus])]
    ranges = [sorted(difference for difference, _, _ in runs) for runs in (now, older)]
    return (
        f"**What you annotate: {ranges[0][0]:+.2f} to {ranges[0][-1]:+.2f} Dice on Sunnybrook, {ranges[1][0]:+.2f} to "
        f"{ranges[1][-1]:+.2f} on ACDC, {hippocampus[0]:+.2f} on the hippocampus in 2D.** {BUDGET} slices of many "
        f"patients against {BUDGET} of one or two: better in {sum(better)} of {sum(patients)} test patients, but "
        "hardly in one of three draws on Sunnybrook. ACDC and hippocampus: 400 steps at a lower rate. `suggest` "
        "spreads them for you."
    )


def about_fine_tuning() -> str:
    """Our schedule against nnU-Net's own trainer."""
    now = gain(SUNNYBROOK, SCHEDULE, STOCK, Setting(selector=SPREAD))
    one, twenty = (gain(PATIENTS, SCHEDULE, STOCK, Setting(shots)) for shots in (1, 20))
    long = [with_steps(SLICES, method, 4000) for method in (STOCK, SCHEDULE)]
    return (
        f"**How you fine-tune: {now:+.2f} over nnU-Net's own trainer** with these spread slices, after {STEPS:,} steps "
        f"on Sunnybrook. At the former, lower rate {one:+.2f} with one labeled patient and {twenty:+.2f} with twenty "
        f"after 400 steps; spread slices {long[1]:.2f} and {long[0]:.2f} after 4,000."
    )


def about_pretraining() -> str:
    """What the pretraining adds to random weights."""
    folders = (SUNNYBROOK, ACDC)
    spread = [gain(folder, PIX2REP, SCHEDULE, Setting(selector=SPREAD)) for folder in folders]
    early = [
        with_steps(folder, PIX2REP, 400, file=NOW_400) - with_steps(folder, SCHEDULE, 400, file=NOW_400)
        for folder in (SLICES, ACDC_LONGER)
    ]
    whole = gain(SUNNYBROOK, PIX2REP, SCHEDULE, Setting(selector=WHOLE))
    six = gain(SUNNYBROOK, PIX2REP, SCHEDULE, Setting(selector=SPREAD, budget=6))
    both, twice = (start_elsewhere("both_datasets.csv", weights, BUDGET) for weights in (BOTH, TWICE))
    return (
        f"**The pretraining helps where steps are few: on ACDC {early[1]:+.2f} over random weights after 400 steps, "
        f"{spread[1]:+.2f} after {STEPS:,}.** Else within chance: on Sunnybrook {early[0]:+.2f} and {spread[0]:+.2f}, "
        f"whole patients {whole:+.2f}, six slices {six:+.2f}. **First on ACDC, then on Sunnybrook:** {both:.2f} after "
        f"400 steps at the lower rate, as long on Sunnybrook alone {twice:.2f}."
    )


def about_public_labels() -> str:
    """A training on the labels of another hospital."""
    unchanged, few, spread = (start_elsewhere("public_labels.csv", SUPERVISED, budget) for budget in (0, 6, BUDGET))
    random = {budget: mean_dice(SLICES, SCHEDULE, Setting(selector=SPREAD, budget=budget)) for budget in (6, BUDGET)}
    return (
        "**Labels of another hospital gave the most with few steps or slices.** Trained on those of ACDC, a network "
        f"had {unchanged:.2f} on Sunnybrook as it was; after 400 steps at the lower rate {spread:.2f} on {BUDGET} "
        f"spread slices (random weights {random[BUDGET]:.2f}), {few:.2f} on six ({random[6]:.2f})."
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
