"""Whole training steps of two processes with half a batch each are those of one process with the joined batch.

The network is nnU-Net's with projection head, wrapped as nnU-Net wraps it. nnU-Net makes the head's BatchNorm a
SyncBatchNorm, which torch has for GPUs only; here one of the same statistics stands for it.
"""

import pytest
import torch
from small_networks import small_network
from torch import distributed, nn
from torch.distributed.nn import functional as differentiable
from torch.nn.parallel import DistributedDataParallel
from two_processes import run_in_two_processes

from nnunet_pix2rep.config import HeadConfig, InfoNCEConfig, PretrainingConfig
from nnunet_pix2rep.losses.barlow_twins import BarlowTwinsLoss
from nnunet_pix2rep.losses.info_nce import InfoNCELoss
from nnunet_pix2rep.nnunet.networks.decoder_features import build_pixel_embedder

HEAD = HeadConfig(hidden_channels=12, channels=10)
CONFIGS = {
    "info_nce": (InfoNCELoss, PretrainingConfig(head=HEAD)),
    "info_nce_few_negatives": (InfoNCELoss, PretrainingConfig(head=HEAD, info_nce=InfoNCEConfig(negatives=6))),
    "barlow_twins": (BarlowTwinsLoss, PretrainingConfig(head=HEAD)),
}
NUM_STEPS = 3
PARTS = {"equal": (slice(0, 2), slice(2, 4)), "unequal": (slice(0, 1), slice(1, 4))}


def all_reduce_sum(values):
    """Sum over processes that gradients flow through."""
    return differentiable.all_reduce(values) if distributed.is_initialized() else values


class BatchNormOfAllProcesses(nn.BatchNorm1d):
    """Training mode only."""

    def forward(self, rows):
        count = all_reduce_sum(rows.new_full((), len(rows)))
        centered = rows - all_reduce_sum(rows.sum(dim=0)) / count
        variance = all_reduce_sum(centered.square().sum(dim=0)) / count
        return centered * (variance + self.eps).rsqrt() * self.weight + self.bias


def make_network(config):
    network = build_pixel_embedder(small_network(), config)
    norm = BatchNormOfAllProcesses(config.head.hidden_channels)
    norm.load_state_dict(network.head[1].state_dict())
    network.head[1] = norm
    return network.double()


def make_batch(images):
    """The part of a batch of four pairs of views that belongs to some of them."""
    generator = torch.Generator().manual_seed(5)
    views = torch.randn(2, 4, 1, 16, 16, dtype=torch.float64, generator=generator)
    points = torch.rand(2, 4, 9, 2, dtype=torch.float64, generator=generator) * 2 - 1
    return views[:, images].flatten(0, 1), points[:, images].flatten(0, 1)


def train(name, images, wrap):
    """Losses and gradients of the first step, and the weights after a few."""
    loss_class, config = CONFIGS[name]
    network, loss = make_network(config), loss_class.from_config(config)
    wrapped = wrap(network)
    optimizer = torch.optim.AdamW([weight for weight in network.parameters() if weight.requires_grad], lr=1e-3)
    views, points = make_batch(images)
    values, gradients = [], None
    for _ in range(NUM_STEPS):
        optimizer.zero_grad(set_to_none=True)
        value = loss(*wrapped(views, points).chunk(2))
        value.backward()
        values.append(value.detach())
        gradients = gradients or [weight.grad.clone() for weight in network.parameters() if weight.requires_grad]
        optimizer.step()
    return {"losses": torch.stack(values), "gradients": gradients, "weights": dict(network.state_dict())}


def work(rank):
    return {
        (parts, name): train(name, images[rank], DistributedDataParallel)
        for parts, images in PARTS.items()
        for name in CONFIGS
    }


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    return run_in_two_processes(work, tmp_path_factory.mktemp("steps"))


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("name", CONFIGS)
def test_losses_gradients_and_weights_are_those_of_the_joined_batch(two_processes, name, parts):
    single = train(name, slice(None), lambda network: network)
    results = [of_process[parts, name] for of_process in two_processes]
    joined = (results[0]["losses"] + results[1]["losses"]) / 2
    torch.testing.assert_close(joined, single["losses"], rtol=1e-8, atol=0)
    for part in results:
        torch.testing.assert_close(part["gradients"], single["gradients"], rtol=1e-7, atol=1e-10)
        torch.testing.assert_close(part["weights"], single["weights"], rtol=1e-6, atol=1e-7)


def test_the_batch_norm_of_one_process_is_torchs():
    rows = torch.randn(20, 3)
    torch.testing.assert_close(BatchNormOfAllProcesses(3)(rows), nn.BatchNorm1d(3)(rows))
