"""Stock nnU-Net with two guards of this package: for folds, and for weights to start from."""

from __future__ import annotations

from pathlib import Path

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file
from nnunet_pix2rep.nnunet.loading.fold_cases import check_fold
from nnunet_pix2rep.nnunet.loading.training_images import preprocessed_labeled_cases
from nnunet_pix2rep.nnunet.training.nnunet_private import requested_pretrained_weights
from nnunet_pix2rep.nnunet.training.starting_weights import guard_starting_weights


class GuardedStockTrainer(nnUNetTrainer):
    """nnUNetTrainer that refuses leaking weights and folds that do not exist.

    Its checkpoints are nnU-Net's own and do not list what they have seen, so that ``--c`` and ``--val`` do not notice a
    change of the split.
    """

    def initialize(self) -> None:
        """nnU-Net's, after the leak guard for the file of ``-pretrained_weights``."""
        requested = requested_pretrained_weights()
        if requested is not None:
            validation = self.do_split()[1] if self.fold != "all" else []
            guard_starting_weights(self, load_checkpoint_file(requested), requested, validation)
        super().initialize()

    def do_split(self) -> tuple[list[str], list[str]]:
        """nnU-Net's split, refused where nnU-Net would make one up."""
        cases = [case.identifier for case in preprocessed_labeled_cases(Path(self.preprocessed_dataset_folder))]
        check_fold(self.fold, Path(self.preprocessed_dataset_folder_base), cases)
        return super().do_split()
