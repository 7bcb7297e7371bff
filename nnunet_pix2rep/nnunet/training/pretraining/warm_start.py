"""A pretraining that starts from given weights: ``-pretrained_weights`` for the self-supervised stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY
from nnunet_pix2rep.nnunet.training.base import Pix2RepTrainer
from nnunet_pix2rep.nnunet.training.nnunet_private import NetworkStandIn
from nnunet_pix2rep.nnunet.training.starting_weights import load_starting_weights


class WarmStart:
    """Where a pretraining starts from: weights of the planned network from a file. The head starts from random weights.

    The file is a checkpoint of the same architecture: another pretraining, a segmentation training of nnU-Net, or what
    ``nnunet_pix2rep import`` makes of nnssl's.

    Attributes:
        origin: Where the weights came from and which cases they have seen, for the record; None: random weights.
    """

    def __init__(self, trainer: Pix2RepTrainer):
        self.origin: dict[str, Any] | None = None
        self._trainer = trainer
        self._stand_in = NetworkStandIn()

    def load(self, file: Path) -> None:
        """Loads weights into the planned network after the leak guard, with a report in the log.

        Raises:
            UserError: the weights do not fit, or have seen this fold's validation patients.
        """
        self.origin = load_starting_weights(self._trainer, file, "pretraining")[1]

    def begin(self, file: Path) -> None:
        """Loads weights while nnU-Net is about to load them once more, which :meth:`end` ends."""
        self.load(file)
        if self.origin is not None and self.origin["adapted_tensors"]:
            self._stand_in.show_nothing(self._trainer)
        else:
            self._stand_in.show(self._trainer, self._trainer.planned_network)

    def end(self) -> None:
        """The trainer has its whole network again."""
        self._stand_in.remove(self._trainer)

    def resume(self, checkpoint: dict[str, Any]) -> None:
        """Takes over where a continued training started from."""
        self.origin = checkpoint.get(RECORD_KEY, {}).get("started_from")
