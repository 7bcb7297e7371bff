"""The memory of a pretraining step is that of the bare network on the same views, and little more."""

import pytest
import torch
from gpu_training import PRETRAINERS
from tiny_training import make_trainer

from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.speed.measurements.step import bare_step
from nnunet_pix2rep.speed.timing.measure import peak_memory

pytestmark = pytest.mark.gpu

# Patch, batch and pixel pairs of nnU-Net's default size on a GPU, small on a CPU. The features are nnU-Net's.
SIZES = {"cuda": (256, 16, 4096), "cpu": (64, 2, 256)}
FEATURES = [32, 64, 128]
# Beyond the network there are float32 copies of the sampled maps with their gradients, which AMP has in float16; they
# take about a quarter of what this network of one convolution per stage takes, and less of a deeper one. Projecting all
# pixels, not only the sampled ones, would take the 256 hidden channels of the head at full resolution: eight times the
# network's widest map, several times over.
MOST = 1.6


@pytest.mark.parametrize("loss", ["info_nce", "barlow_twins"])
def test_a_step_needs_little_more_memory_than_its_network(tiny, device, tmp_path, loss):
    width, batch_size, num_points = SIZES[device.type]
    write_wide_plans(tiny, "2d", width, batch_size)
    settings = {"sampling": {"num_points": num_points}, "head": {"hidden_channels": 256, "channels": 256}}
    trainer = make_trainer(PRETRAINERS[loss], tiny, plans_name="WidePlans", device=device, pretraining=settings)
    trainer.initialize()
    trainer.network.train()
    shape = (2 * batch_size, 1, width, width)
    points = torch.rand(2 * batch_size, num_points // batch_size, 2) * 2 - 1
    batch = {"images": torch.randn(shape), "points": points, "keys": ["made up"]}
    steps = {"step": lambda: trainer.train_step(batch), "bare": bare_step(trainer, batch)}
    memory = {}
    for name, step in steps.items():
        for _ in range(2):  # the optimizer's state, cuDNN's choice of algorithms
            step()
        trainer.optimizer.zero_grad(set_to_none=True)
        memory[name] = peak_memory(step, device)
    assert 0.5 < memory["step"] / memory["bare"] < MOST


def write_wide_plans(folder, configuration, width, batch_size):
    """The tiny plans with nnU-Net's features and a patch of its usual size."""
    plans = read_json(folder / "TinyPlans.json") | {"plans_name": "WidePlans"}
    content = plans["configurations"][configuration]
    content |= {"patch_size": [width, width], "batch_size": batch_size}
    content["architecture"]["arch_kwargs"] |= {"features_per_stage": FEATURES}
    write_json(plans, folder / "WidePlans.json")
