"""Draws architecture.svg and architecture.png in docs/explanation/pictures: the four walks of architecture.md.

Run it after a change of the walks: ``python docs/scripts/plot_architecture.py``.
"""

from __future__ import annotations

from typing import NamedTuple

from drawing import save_drawing
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

BOX_WIDTH, BOX_HEIGHT, GAP, LANE = 2.05, 1.0, 0.4, 1.95
COLORS = {
    "nnU-Net's own": "#d9d9d9",
    "touches nnU-Net (nnunet/, trainers/)": "#bcd7ee",
    "the method: pure functions": "#c9e7c5",
    "annotation/": "#f9dfae",
    "benchmark/, cli/": "#e3cdea",
}
NNUNET, BRIDGE, METHOD, ANNOTATION, BENCHMARK = COLORS


class Step(NamedTuple):
    """A box: what happens, where, and which part of the code does it."""

    what: str
    file: str
    room: str


WALKS = {
    "1   A patch, from disk to the loss": (
        Step("images of the fold\nand the pool", "training_images.py", BRIDGE),
        Step("a context patch\nof an image", "patch_loader.py", BRIDGE),
        Step("two views: intensity,\nand φ for the second", "views.py, geometry/", METHOD),
        Step("pairs of points\nu and φ(u)", "sampling.py", METHOD),
        Step("the planned network\nup to its decoder", "decoder_features.py", BRIDGE),
        Step("features at the points,\nprojected", "projection_head.py", METHOD),
        Step("loss of paired rows\n(N, d) and (N, d)", "losses/", METHOD),
    ),
    "2   A weight, from pretraining to nnU-Net's prediction": (
        Step("checkpoint with a\nrecord of what it saw", "checkpoints/files.py", BRIDGE),
        Step("leak guard against the\nvalidation patients", "leak_guard.py", BRIDGE),
        Step("weights by name\nand shape", "transfer.py", BRIDGE),
        Step("segmentation layers\nfirst, then all", "finetune.py", BRIDGE),
        Step("checkpoint in the name\nof nnUNetTrainer", "finetune.py", BRIDGE),
        Step("prediction, on any\nmachine", "nnUNetv2_predict", NNUNET),
    ),
    "3   A cell of the benchmark, from the command to the report": (
        Step("folds of patients,\na linked dataset", "launch/setup.py", BENCHMARK),
        Step("method x shots x draw", "design/matrix.py", BENCHMARK),
        Step("run here or on a\ncluster, resumable", "executor.py", BENCHMARK),
        Step("training and\nprediction", "nnUNetv2_train, _predict", NNUNET),
        Step("Dice in the original\ngeometry", "evaluation.py", BENCHMARK),
        Step("intervals over patients\nand draws, tests", "statistics.py", BENCHMARK),
        Step("tables, figures,\nreport", "report/write.py", BENCHMARK),
    ),
    "4   A scan, from a folder to a suggestion": (
        Step("scans found, checked,\nput into imagesUn/", "new_dataset.py", ANNOTATION),
        Step("fingerprint and plans\nfrom images alone", "plan_unlabeled.py", ANNOTATION),
        Step("pretraining on all\n(walk 1)", "nnUNetv2_train", NNUNET),
        Step("features of pixels\nof every slice", "features/extraction.py", BRIDGE),
        Step("who represents most,\nwithout any label", "selectors/", ANNOTATION),
        Step("label files to draw in,\nignore elsewhere", "label_files.py", ANNOTATION),
    ),
}


def plot_walks() -> Figure:
    """One lane for each walk, its steps from left to right."""
    longest = max(len(steps) for steps in WALKS.values())
    width, height = longest * (BOX_WIDTH + GAP) + 0.2, len(WALKS) * LANE + 0.6
    figure = Figure(figsize=(width * 0.85, height * 0.85))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(-0.3, width - 0.3), ylim=(0, height))
    axis.axis("off")
    for lane, (title, steps) in enumerate(WALKS.items()):
        bottom = height - (lane + 1) * LANE + 0.1
        axis.text(0, bottom + BOX_HEIGHT + 0.18, title, fontsize=11, fontweight="bold")
        for place, step in enumerate(steps):
            left = place * (BOX_WIDTH + GAP)
            box = FancyBboxPatch(
                (left, bottom), BOX_WIDTH, BOX_HEIGHT, "round,pad=0.04", facecolor=COLORS[step.room], edgecolor="0.45"
            )
            axis.add_patch(box)
            middle = left + BOX_WIDTH / 2
            axis.text(middle, bottom + 0.64, step.what, ha="center", va="center", fontsize=8.5)
            axis.text(middle, bottom + 0.16, step.file, ha="center", va="center", fontsize=7.2, family="monospace")
            if place:
                ends = ((left - GAP + 0.04, bottom + BOX_HEIGHT / 2), (left - 0.04, bottom + BOX_HEIGHT / 2))
                axis.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=11, color="0.3"))
    for place, (room, color) in enumerate(COLORS.items()):
        left = place * width / len(COLORS)
        axis.add_patch(FancyBboxPatch((left, 0.16), 0.25, 0.2, "round,pad=0.02", facecolor=color, edgecolor="0.45"))
        axis.text(left + 0.38, 0.26, room, va="center", fontsize=8.5)
    return figure


if __name__ == "__main__":
    save_drawing(plot_walks(), "architecture", dots_per_inch=110)
