"""The training log of a pretraining: what nnU-Net's LocalLogger is for segmentation (nnunetv2 2.8.1, nnunet_logger.py).

nnU-Net's local logger knows a fixed set of keys, all about Dice. This one knows those of a self-supervised training;
external loggers (Weights & Biases) sit beside it in nnU-Net's MetaLogger and get the same values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from nnunetv2.training.logging.nnunet_logger import LocalLogger

from nnunet_pix2rep.diagnostics.embeddings import PAIR_DIAGNOSTICS
from nnunet_pix2rep.diagnostics.shortcuts import SHORTCUTS
from nnunet_pix2rep.files import atomic_path

DIAGNOSTICS = (*PAIR_DIAGNOSTICS, *SHORTCUTS)
GENERAL_KEYS = ("train_losses", "val_losses", "lrs", "epoch_start_timestamps", "epoch_end_timestamps")


class PretrainingLogger(LocalLogger):
    """Values per epoch, and the picture of them.

    Args:
        verbose: As nnU-Net's.
        diagnostics: What is logged beside losses, learning rate and times.
    """

    def __init__(self, verbose: bool = False, diagnostics: Sequence[str] = DIAGNOSTICS):
        super().__init__(verbose)
        self.diagnostics = tuple(diagnostics)
        self.my_fantastic_logging: dict[str, list[Any]] = {key: [] for key in (*GENERAL_KEYS, *diagnostics)}

    def load_checkpoint(self, checkpoint: dict) -> None:
        """nnU-Net's; what an older checkpoint did not log yet is NaN."""
        num_epochs = max((len(series) for series in checkpoint.values()), default=0)
        super().load_checkpoint({key: [math.nan] * num_epochs for key in self.my_fantastic_logging} | checkpoint)

    def plot_progress_png(self, output_folder: str) -> None:
        """Draws ``progress.png``: losses, diagnostics, learning rate, time per epoch."""
        values = self.my_fantastic_logging
        num_epochs = min(len(series) for series in values.values())
        epochs = range(num_epochs)
        seconds = [
            end - start
            for start, end in zip(values["epoch_start_timestamps"], values["epoch_end_timestamps"], strict=False)
        ]
        panels = [
            ("loss", {"SSL training": values["train_losses"], "SSL validation": values["val_losses"]}),
            *[(name.replace("_", " "), {"": values[name]}) for name in self.diagnostics],
            ("learning rate", {"": values["lrs"]}),
            ("seconds per epoch", {"": seconds}),
        ]
        rows = (len(panels) + 1) // 2
        figure = Figure(figsize=(14, 4 * rows), layout="constrained")  # not of pyplot, which keeps it after a failure
        for place, (title, series) in enumerate(panels, 1):
            axis = figure.add_subplot(rows, 2, place)
            for label, numbers in series.items():
                axis.plot(
                    epochs,
                    numbers[:num_epochs],
                    label=label or None,
                    linewidth=2,
                    marker="o" if num_epochs < 30 else None,
                )
            axis.set(title=title, xlabel="epoch")
            axis.grid(alpha=0.3)
            if len(series) > 1:
                axis.legend()
        with atomic_path(Path(output_folder) / "progress.png") as temporary:
            figure.savefig(temporary)
