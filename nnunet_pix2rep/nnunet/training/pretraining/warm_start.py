"""A pretraining that starts from given weights: ``-pretrained_weights`` for the self-supervised stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.checkpoints.leak_guard import check_leak
from nnunet_pix2rep.nnunet.checkpoints.transfer import origin_of, transfer_weights
from nnunet_pix2rep.nnunet.training.base import Pix2RepTrainer
from nnunet_pix2rep.nnunet.training.nnunet_private import NetworkStandIn


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
        trainer = self._trainer
        checkpoint = load_checkpoint_file(file)
        validation = trainer.do_split()[1] if trainer.fold != "all" else []
        leaked = check_leak(
            checkpoint,
            file,
            trainer.plans_manager.dataset_name,
            Path(trainer.preprocessed_dataset_folder_base),
            validation,
        )
        if leaked:
            trainer.print_to_log_file(
                f"WARNING: transductive: the weights to start from have seen the validation cases {', '.join(leaked)}"
            )
        loaded = transfer_weights(checkpoint, trainer.planned_network, file, trainer.print_to_log_file)
        self.origin = origin_of(checkpoint, file) | {"num_loaded_tensors": len(loaded), "transductive_cases": leaked}

    def begin(self, file: Path) -> None:
        """Loads weights while nnU-Net is about to load them once more, which :meth:`end` ends."""
        self.load(file)
        self._stand_in.show(self._trainer, self._trainer.planned_network)

    def end(self) -> None:
        """The trainer has its whole network again."""
        self._stand_in.remove(self._trainer)

    def resume(self, checkpoint: dict[str, Any]) -> None:
        """Takes over where a continued training started from."""
        self.origin = checkpoint.get(RECORD_KEY, {}).get("started_from")
