"""torch.compile as nnU-Net uses it: the whole network in one graph, compiled in the first epoch and never again."""

import pytest
import torch
from gpu_training import PRETRAINERS, first_batch, initialized
from torch._dynamo.utils import counters

from nnunet_pix2rep.nnunet.loading.patch_loader import tensors_of
from nnunet_pix2rep.nnunet.networks.decoder_features import unwrap

pytestmark = pytest.mark.gpu

STATES = 2  # training, and validation without gradients


@pytest.fixture(autouse=True)
def forget_compiled_networks():
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


def compiled_trainer(loss, tiny, device, monkeypatch):
    """By nnU-Net on a GPU; it never compiles on a CPU, where dynamo and the tracing of gradients stand for it."""
    monkeypatch.setenv("nnUNet_compile", "t")
    trainer = initialized(PRETRAINERS[loss], tiny, device)
    if device.type != "cuda":
        trainer.network = torch.compile(trainer.network, backend="aot_eager")
    assert unwrap(trainer.network) is not trainer.network
    return trainer


def run_epoch(trainer, batch):
    trainer.network.train()
    losses = [trainer.train_step(batch)["loss"] for _ in range(2)]
    trainer.network.eval()
    with torch.no_grad():
        losses.append(trainer.validation_step(batch)["loss"])
    return torch.stack(losses)


def test_only_the_first_epoch_compiles(tiny, device, monkeypatch):
    trainer = compiled_trainer("barlow_twins", tiny, device, monkeypatch)
    batch = first_batch(trainer)
    assert run_epoch(trainer, batch).isfinite().all()
    assert dict(counters["graph_break"]) == {}
    assert counters["stats"]["unique_graphs"] == STATES
    with torch._dynamo.config.patch(error_on_recompile=True):
        assert run_epoch(trainer, batch).isfinite().all()
    assert counters["stats"]["unique_graphs"] == STATES


@pytest.mark.parametrize(("loss", "configuration"), [("info_nce", "3d_fullres"), ("masked_autoencoder", "2d")])
def test_no_network_breaks_into_several_graphs(tiny, device, loss, configuration):
    trainer = initialized(PRETRAINERS[loss], tiny, device, configuration)
    batch = first_batch(trainer)
    inputs = tensors_of(batch, device, *(("images",) if loss == "masked_autoencoder" else ("images", "points")))
    with trainer.autocast():
        explained = torch._dynamo.explain(trainer.network)(*inputs)
    assert explained.graph_break_count == 0, explained.break_reasons
    assert explained.graph_count == 1
