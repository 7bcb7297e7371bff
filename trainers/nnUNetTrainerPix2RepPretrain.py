"""Self-supervised pretraining with pixel InfoNCE (Pix2Rep)."""

from nnunet_pix2rep.nnunet.pretrain_trainer import Pix2RepPretrainTrainer


class nnUNetTrainerPix2RepPretrain(Pix2RepPretrainTrainer):
    """Pix2Rep, MIDL 2024, arXiv 2407.20395."""

    loss_name = "info_nce"
