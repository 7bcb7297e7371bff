"""Checkpoints of a GPU: they go on there and on a CPU, and running out of memory leaves them whole."""

from pathlib import Path

import pytest
import torch
from gpu_training import PRETRAINERS, Finetune
from tiny_training import assert_equal_weights, make_trainer, weights_of

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")
TRAINERS = [PRETRAINERS["barlow_twins"], PRETRAINERS["masked_autoencoder"], Finetune]
NUM_EPOCHS = 3  # of the tiny plans, which save every epoch


class StoppedError(Exception):
    pass


def stop():
    raise StoppedError


def run_out_of_memory(device):
    """As the allocator does; a CPU's has no such error."""
    if device.type == "cuda":
        torch.empty(2**50, dtype=torch.uint8, device=device)
    raise torch.OutOfMemoryError("CUDA out of memory.")


def train_until(trainer, epoch, act):
    """Trains until an epoch's first step, then acts."""
    step = trainer.train_step

    def train_step(batch):
        if trainer.current_epoch == epoch:
            act()
        return step(batch)

    trainer.train_step = train_step
    trainer.run_training()


def latest_of(trainer):
    return Path(trainer.output_folder) / "checkpoint_latest.pth"


def resumed(trainer_class, folder, device):
    trainer = make_trainer(trainer_class, folder, device=device)
    trainer.load_checkpoint(str(latest_of(trainer)))
    return trainer


@pytest.mark.parametrize("place", ["gpu", "cpu"])
@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_a_training_on_a_gpu_goes_on_there_and_on_a_cpu(tiny, device, trainer_class, place):
    trainer = make_trainer(trainer_class, tiny, device=device)
    with pytest.raises(StoppedError):
        train_until(trainer, NUM_EPOCHS - 1, stop)
    saved = torch.load(latest_of(trainer), weights_only=True)  # as nnU-Net loads pretrained weights: no map_location
    assert {value.device.type for value in saved["network_weights"].values()} == {"cpu"}

    again = resumed(trainer_class, tiny, device if place == "gpu" else CPU)
    assert again.current_epoch == NUM_EPOCHS - 1
    weights = {key: value.cpu() for key, value in weights_of(again.planned_network).items()}
    assert_equal_weights(weights, saved["network_weights"])
    wanted = next(again.network.parameters()).device
    states = [value for state in again.optimizer.state.values() for value in state.values()]
    moments = [value for value in states if torch.is_tensor(value) and value.ndim > 0]
    assert {moment.device for moment in moments} == {wanted}
    if again.grad_scaler is not None:
        assert again.grad_scaler.state_dict()["scale"] == saved["grad_scaler_state"]["scale"]

    again.run_training()
    final = load_checkpoint_file(latest_of(again).with_name("checkpoint_final.pth"))
    assert {len(series) for series in final["logging"].values()} == {NUM_EPOCHS}
    assert all(value.isfinite().all() for value in final["network_weights"].values())


def test_running_out_of_memory_names_what_to_lower_and_loses_nothing(tiny, device):
    trainer_class = PRETRAINERS["info_nce"]
    trainer = make_trainer(trainer_class, tiny, device=device)
    with pytest.raises(UserError, match=r"batch_size 2 .* 64 pixel pairs.*--c.*CUDA out of memory"):
        train_until(trainer, NUM_EPOCHS - 1, lambda: run_out_of_memory(device))
    assert load_checkpoint_file(latest_of(trainer))["current_epoch"] == NUM_EPOCHS - 1
    again = resumed(trainer_class, tiny, device)
    again.run_training()
    assert again.current_epoch == NUM_EPOCHS
