"""Self-supervised pretraining with pixel Barlow Twins (Pix2Rep-v2)."""

from nnunet_pix2rep.nnunet.pretrain_trainer import Pix2RepPretrainTrainer


class nnUNetTrainerPix2RepV2Pretrain(Pix2RepPretrainTrainer):
    """Pix2Rep-v2, arXiv 2609.01427."""

    loss_name = "barlow_twins"
