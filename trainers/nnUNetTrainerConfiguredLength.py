"""Stock nnU-Net with a length from the plans instead of a fixed one."""

import torch

from nnunet_pix2rep.nnunet.plans.plans_file import check_place_of_block, read_config
from nnunet_pix2rep.nnunet.training.cpu_threads import honor_omp_num_threads
from nnunet_pix2rep.nnunet.training.guarded_stock import GuardedStockTrainer


class nnUNetTrainerConfiguredLength(GuardedStockTrainer):
    """nnUNetTrainer in everything but its length, which the plans' block ``pix2rep.finetuning`` gives."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        honor_omp_num_threads(device)
        check_place_of_block(plans)
        super().__init__(plans, configuration, fold, dataset_json, device)
        config = read_config(
            self.configuration_manager, f"plans {self.plans_manager.plans_name}, configuration {configuration}"
        )
        self.num_epochs = config.finetuning.num_epochs
        self.num_iterations_per_epoch = config.finetuning.num_iterations_per_epoch
        self.num_val_iterations_per_epoch = config.finetuning.num_val_iterations_per_epoch
        self.save_every = config.finetuning.save_every
