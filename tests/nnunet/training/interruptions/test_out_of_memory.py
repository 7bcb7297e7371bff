"""A GPU without memory for a step: what the user reads, and that nothing is lost. tests/gpu has it on a real GPU."""

import pytest
import torch
from interrupted_runs import LATEST, Finetune, file_of, resumed
from tiny_training import make_trainer

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file
from nnunet_pix2rep.nnunet.training.pretraining.masked_autoencoder import nnUNetTrainerMaskedAutoencoderPretrain
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepPretrain

TORCHS_MESSAGE = "CUDA out of memory. Tried to allocate 2.00 GiB."


def run_out_of_memory_in(trainer, epoch):
    """Trains until the network's forward pass of an epoch fails; returns the user's message."""
    trainer.initialize()
    forward = trainer.network.forward

    def failing(*inputs):
        if trainer.current_epoch == epoch:
            raise torch.OutOfMemoryError(f"{TORCHS_MESSAGE}\nGPU 0 has a total capacity of 80 GiB")
        return forward(*inputs)

    trainer.network.forward = failing
    with pytest.raises(UserError) as raised:
        trainer.run_training()
    return str(raised.value)


def test_a_pretraining_names_batch_and_points_and_goes_on_where_it_was(tiny):
    trainer = make_trainer(nnUNetTrainerPix2RepPretrain, tiny)
    message = run_out_of_memory_in(trainer, epoch=2)
    for part in ("epoch 2", "batch_size 2", "24 x 24", "64 pixel pairs", "num_points", "--c", TORCHS_MESSAGE):
        assert part in message
    assert "total capacity" not in message
    assert str(file_of(trainer, LATEST)) in message
    assert load_checkpoint_file(file_of(trainer, LATEST))["current_epoch"] == 2
    again = resumed(nnUNetTrainerPix2RepPretrain, tiny, pretraining={"sampling": {"num_points": 32}})
    again.run_training()
    assert again.current_epoch == 3


@pytest.mark.parametrize("trainer_class", [nnUNetTrainerMaskedAutoencoderPretrain, Finetune])
def test_a_training_without_pixel_pairs_does_not_name_them(tiny, trainer_class):
    message = run_out_of_memory_in(make_trainer(trainer_class, tiny), epoch=0)
    assert "batch_size 2" in message
    assert "pixel pairs" not in message
    assert "no checkpoint yet" in message


def test_other_errors_stay_what_they_are(tiny):
    trainer = make_trainer(nnUNetTrainerPix2RepPretrain, tiny)

    def broken(_batch):
        raise RuntimeError("CUDA error: device-side assert triggered")

    trainer.train_step = broken
    with pytest.raises(RuntimeError, match="device-side assert"):
        trainer.run_training()
