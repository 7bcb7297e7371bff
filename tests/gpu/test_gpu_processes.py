"""Two processes on one card train as one does with the joined batch.

NCCL refuses two ranks on one card, so gloo connects them, which takes CUDA tensors; DistributedDataParallel and
SyncBatchNorm are those that nnU-Net puts around the network.
"""

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from nnunet_pix2rep.losses.barlow_twins import BarlowTwinsLoss
from nnunet_pix2rep.losses.info_nce import InfoNCELoss
from nnunet_pix2rep.projection_head import ProjectionHead

pytestmark = pytest.mark.gpu

LOSSES = {"info_nce": lambda: InfoNCELoss(negatives=6), "barlow_twins": BarlowTwinsLoss}
IMAGES = 4
# float64: what is left is the order of sums. SyncBatchNorm works out its statistics from those of the processes.
TOLERANCES = {"rtol": 1e-5, "atol": 1e-8}


class Embedder(nn.Module):
    """A convolution with a projection head, of which torch has a SyncBatchNorm on GPUs only."""

    def __init__(self, has_norm):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(1, 6, kernel_size=3, padding=1)
        self.head = ProjectionHead(6, 12, 10)
        if not has_norm:
            self.head[1] = nn.Identity()

    def forward(self, images, points):
        return self.head.at_points([self.convolution(images)], points)


def train(name, kind, images, wrap):
    """Loss and gradients of a step on some of the images, on the CPU."""
    network = wrap(Embedder(has_norm=kind == "cuda").double().to(kind))
    generator = torch.Generator().manual_seed(5)
    views = torch.randn(2, IMAGES, 1, 16, 16, dtype=torch.float64, generator=generator)[:, images].flatten(0, 1)
    points = (torch.rand(2, IMAGES, 9, 2, dtype=torch.float64, generator=generator) * 2 - 1)[:, images].flatten(0, 1)
    loss = LOSSES[name]()(*network(views.to(kind), points.to(kind)).chunk(2))
    loss.backward()
    return loss.detach().cpu(), [weight.grad.cpu() for weight in network.parameters()]


def wrapped_as_in_nnunet(network):
    return DistributedDataParallel(nn.SyncBatchNorm.convert_sync_batchnorm(network))


def work(rank, kind, folder):
    torch.set_num_threads(1)
    if kind == "cuda":
        torch.cuda.set_device(0)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/init", rank=rank, world_size=2)
    images = slice(rank * IMAGES // 2, (rank + 1) * IMAGES // 2)
    torch.save({name: train(name, kind, images, wrapped_as_in_nnunet) for name in LOSSES}, f"{folder}/{rank}.pth")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(device, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(work, (device.type, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pth") for rank in range(2)]


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_gradients_are_those_of_the_joined_batch(two_processes, device, name):
    loss, gradients = train(name, device.type, slice(None), lambda network: network)
    parts = [results[name] for results in two_processes]
    torch.testing.assert_close((parts[0][0] + parts[1][0]) / 2, loss, **TOLERANCES)
    for _, of_part in parts:
        torch.testing.assert_close(of_part, gradients, **TOLERANCES)
