"""Trainings on a GPU and on the CPU with the same weights and batches, and how far apart they are."""

import itertools

import pytest
import torch
from tiny_training import make_trainer

from nnunet_pix2rep.losses.vicreg import VICRegLoss
from nnunet_pix2rep.nnunet.networks.decoder_features import unwrap
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.finetuning.linear_probe import Pix2RepLinearProbeTrainer
from nnunet_pix2rep.nnunet.training.finetuning.mean_teacher import Pix2RepMeanTeacherTrainer
from nnunet_pix2rep.nnunet.training.pretraining.masked_autoencoder import nnUNetTrainerMaskedAutoencoderPretrain
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import (
    Pix2RepPretrainTrainer,
    nnUNetTrainerPix2RepPretrain,
    nnUNetTrainerPix2RepV2Pretrain,
)


class VICRegPretrain(Pix2RepPretrainTrainer):
    loss_class = VICRegLoss


class Finetune(Pix2RepFinetuneTrainer):
    needs_pretrained_weights = False


class LinearProbe(Pix2RepLinearProbeTrainer):
    needs_pretrained_weights = False


class MeanTeacher(Pix2RepMeanTeacherTrainer):
    needs_pretrained_weights = False


PRETRAINERS = {
    "info_nce": nnUNetTrainerPix2RepPretrain,
    "barlow_twins": nnUNetTrainerPix2RepV2Pretrain,
    "vicreg": VICRegPretrain,
    "masked_autoencoder": nnUNetTrainerMaskedAutoencoderPretrain,
}
CONFIGURATIONS = ("2d", "3d_fullres")
MOST_SKIPPED_STEPS = 20  # nnU-Net's scaler starts at 2^16 and halves the scale with each step that it skips
NO_STEP = 1e-30  # a learning rate that changes no weight, yet is not 0, with which fine-tuning drops gradients


def initialized(trainer_class, folder, device, configuration="2d", **settings):
    """A trainer that could start."""
    trainer = make_trainer(trainer_class, folder, configuration=configuration, device=device, **settings)
    trainer.initialize()
    trainer.network.train()
    return trainer


def first_batch(trainer):
    """The first training batch, on the CPU."""
    return next(trainer.get_dataloaders()[0])


def pinned(batch, device):
    """The batch as worker processes hand it over: in pinned memory where there is a GPU."""
    if device.type != "cuda":
        return batch

    def pin(value):
        if isinstance(value, list):
            return [pin(item) for item in value]
        return value.pin_memory() if isinstance(value, torch.Tensor) else value

    return {key: pin(value) for key, value in batch.items()}


def copy_weights(source, target):
    """Gives a trainer the weights of another one."""
    unwrap(target.network).load_state_dict(unwrap(source.network).state_dict())


def use_precision(trainer, precision):
    """AMP in a precision; float16 on a GPU is nnU-Net's own, with its scaler."""
    kind = trainer.device.type
    if kind == "cuda" and precision == "float16":
        assert torch.get_autocast_dtype("cuda") == torch.float16
        assert trainer.grad_scaler is not None
        return
    trainer.grad_scaler = None
    trainer.autocast = lambda: torch.autocast(kind, torch.bfloat16)


def start_teacher(trainer, views):
    """What ``on_train_start`` does for a Mean Teacher, with the same unlabeled batch and weight in every step."""
    trainer._start_teacher()
    trainer._unlabeled = itertools.repeat(views)
    trainer._consistency_weight = lambda: 1.0


def loss_and_gradients(trainer, batch):
    """Loss and joined gradients of a training step; the weights stay as they are.

    A step that the scaler skips is repeated.
    """
    trainer.lr_scheduler.step = lambda _epoch: None
    for group in trainer.optimizer.param_groups:
        group["lr"] = NO_STEP
    for _ in range(MOST_SKIPPED_STEPS):
        loss = float(trainer.train_step(batch)["loss"])
        trained = [weight for weight in trainer.network.parameters() if weight.grad is not None]
        gradients = torch.cat([weight.grad.flatten().float().cpu() for weight in trained])
        if gradients.isfinite().all():
            return loss, gradients
    return pytest.fail(f"no finite gradient in {MOST_SKIPPED_STEPS} steps")


def relative_distance(found, expected):
    """Norm of the difference in parts of the norm of what is expected."""
    return float((found.float().cpu() - expected.float().cpu()).norm() / expected.float().cpu().norm())
