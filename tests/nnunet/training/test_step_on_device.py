"""A training step asks nothing of the device that it would have to wait for, and mixes no devices."""

import pytest
import torch
from tiny_training import make_trainer
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from nnunet_pix2rep.nnunet.training.pretraining.masked_autoencoder import nnUNetTrainerMaskedAutoencoderPretrain
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import (
    nnUNetTrainerPix2RepPretrain,
    nnUNetTrainerPix2RepV2Pretrain,
)

# Operations whose result, or the shape of it, the host has to know; on a GPU each waits until the device is done.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal", "is_nonzero"}

GPU = torch.device("cuda", 0)
INDEXING = {"index", "index_put", "index_put_"}  # wait where the index is a mask


class Waiting(TorchDispatchMode):
    """Remembers the operations that would wait."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name in INDEXING and any(index is not None and index.dtype == torch.bool for index in args[1])
        if name in WAITING or by_mask:
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("trainer_class", "negatives"),
    [
        (nnUNetTrainerPix2RepPretrain, None),
        (nnUNetTrainerPix2RepPretrain, 8),
        (nnUNetTrainerPix2RepV2Pretrain, 8),
        (nnUNetTrainerMaskedAutoencoderPretrain, 8),
    ],
)
def test_a_training_step_waits_for_nothing(tiny, trainer_class, negatives):
    trainer = make_trainer(trainer_class, tiny, pretraining={"info_nce": {"negatives": negatives}})
    trainer.initialize()
    training, _ = trainer.get_dataloaders()
    batch = next(training)
    trainer.network.train()
    with Waiting() as waiting:
        for _ in range(2):
            output = trainer.train_step(batch)
    assert waiting.found == []
    assert torch.isfinite(output["loss"])


def test_an_operation_that_waits_is_noticed():
    with Waiting() as waiting:
        float(torch.ones(1))
        torch.ones(3)[torch.tensor([True, False, True])]
    assert len(waiting.found) == 2


@pytest.mark.parametrize(
    "trainer_class",
    [nnUNetTrainerPix2RepPretrain, nnUNetTrainerPix2RepV2Pretrain, nnUNetTrainerMaskedAutoencoderPretrain],
)
def test_the_loss_is_worked_out_on_the_gpu_alone(tiny, trainer_class, monkeypatch):
    """In AMP on a GPU that is not there: fake tensors have a device but no values. Gradients would need a real one."""
    trainer = make_trainer(trainer_class, tiny)
    trainer.initialize()
    batch = next(trainer.get_dataloaders()[0])
    vars(trainer).pop("_unnormalized", None)  # is on the CPU for good
    trainer.device = GPU
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    with FakeTensorMode() as mode:
        with GPU:
            trainer.network = trainer.build_network_architecture(
                *(trainer.plans_manager, trainer.configuration_manager, trainer.num_input_channels),
                trainer.label_manager.num_segmentation_heads,
            )
        faked = {key: mode.from_tensor(value) if torch.is_tensor(value) else value for key, value in batch.items()}
        with trainer.autocast():
            loss = trainer.compute_loss(faked)
    assert loss.device == GPU


def test_a_mix_of_devices_is_noticed():
    with FakeTensorMode(), pytest.raises(RuntimeError, match="cpu"):
        torch.ones(2, device=GPU) + torch.ones(2)
