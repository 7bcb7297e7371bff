"""Self-supervised pretraining with pixel VICReg."""

from nnunet_pix2rep.losses.vicreg import VICRegLoss
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import Pix2RepPretrainTrainer


class nnUNetTrainerPix2RepVICRegPretrain(Pix2RepPretrainTrainer):
    """Pixel VICReg: Bardes et al., ICLR 2022, arXiv 2105.04906, over paired pixels."""

    loss_class = VICRegLoss
