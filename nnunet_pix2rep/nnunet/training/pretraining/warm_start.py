"""A pretraining that starts from given weights: ``-pretrained_weights`` for the self-supervised stage.

Read against nnunetv2 2.8.1, run/run_training.py and run/load_pretrained_weights.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.checkpoints.leak_guard import check_leak
from nnunet_pix2rep.nnunet.checkpoints.transfer import origin_of, requested_pretrained_weights, transfer_weights
from nnunet_pix2rep.nnunet.training.pretraining.self_supervised import SelfSupervisedTrainer


class StartedPretrainTrainer(SelfSupervisedTrainer):
    """Takes the weights of the planned network from a file; the projection head always starts anew.

    The file is a checkpoint of the same architecture: another pretraining, a segmentation training of nnU-Net, or what
    ``nnunet_pix2rep import`` makes of nnssl's. Where it came from, and whom it has seen, goes on the record.
    """

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.started_from: dict[str, Any] | None = None
        self._set_aside: nn.Module | None = None

    def initialize(self) -> None:
        """nnU-Net's; a file given by ``-pretrained_weights`` is checked and loaded here, with a report.

        Straight after this nnU-Net loads the file once more, into ``trainer.network`` and with names of the planned
        network. This trainer's network has a head and other names, so until the training starts the planned network,
        which is a part of it, stands in its place.
        """
        requested = requested_pretrained_weights()
        super().initialize()
        if requested is not None:
            self.start_from(requested)
            planned = self.planned_network
            self._set_aside, self.network = self.network, planned

    def on_train_start(self) -> None:
        """nnU-Net's, with the whole network back in its place."""
        if self._set_aside is not None:
            self.network, self._set_aside = self._set_aside, None
        super().on_train_start()

    def start_from(self, file: Path) -> None:
        """Loads weights into the planned network after the leak guard.

        Raises:
            UserError: the weights do not fit, or have seen this fold's validation patients.
        """
        checkpoint = load_checkpoint_file(file)
        dataset_name = self.plans_manager.dataset_name
        validation = self.do_split()[1] if self.fold != "all" else []
        leaked = check_leak(checkpoint, file, dataset_name, Path(self.preprocessed_dataset_folder_base), validation)
        if leaked:
            self.print_to_log_file(
                f"WARNING: transductive: the weights to start from have seen the validation cases {', '.join(leaked)}"
            )
        loaded = transfer_weights(checkpoint, self.planned_network, file, self.print_to_log_file)
        self.started_from = origin_of(checkpoint, file) | {
            "num_loaded_tensors": len(loaded),
            "transductive_cases": leaked,
        }

    def record(self) -> dict[str, Any]:
        """Adds where the training started from; None: random weights."""
        return super().record() | {"started_from": self.started_from}

    def load_further_weights(self, checkpoint: dict[str, Any], source: str) -> None:
        """Takes over where the continued training started from."""
        super().load_further_weights(checkpoint, source)
        self.started_from = checkpoint.get(RECORD_KEY, {}).get("started_from")
