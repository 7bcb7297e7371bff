"""How much the losses send, against the formulas of docs/explanation/performance.md; the processes are pretended."""

import pytest
import torch
from torch import distributed

from nnunet_pix2rep.losses.barlow_twins import barlow_twins
from nnunet_pix2rep.losses.info_nce import info_nce

CHANNELS = 32


@pytest.fixture(params=[2, 4])
def processes(request, monkeypatch):
    """A world whose other members hold the same rows; what this process hands to torch.distributed is counted."""
    sent = {"all_reduce": 0, "all_gather": 0}

    def all_reduce(values):
        sent["all_reduce"] += values.numel() * values.element_size()
        values.mul_(request.param)

    def all_gather(gathered, values):
        sent["all_gather"] += values.numel() * values.element_size()
        for part in gathered:
            part.copy_(values)

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: request.param)
    monkeypatch.setattr(distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(distributed, "all_reduce", all_reduce)
    monkeypatch.setattr(distributed, "all_gather", all_gather)
    return sent


def embeddings(num_rows, dtype=torch.float32):
    return [torch.randn(num_rows, CHANNELS, dtype=dtype, requires_grad=True) for _ in range(2)]


@pytest.mark.parametrize("num_rows", [50, 200])
def test_barlow_twins_sends_matrices_whose_size_does_not_depend_on_the_pixels(processes, num_rows):
    barlow_twins(*embeddings(num_rows)).backward()
    assert processes == {"all_reduce": 4 * (1 + 4 * CHANNELS + CHANNELS**2), "all_gather": 0}


@pytest.mark.parametrize(("dtype", "width"), [(torch.float32, 4), (torch.bfloat16, 2)])
@pytest.mark.parametrize("negatives", [None, 38])
def test_info_nce_sends_its_embeddings_and_their_log_sums(processes, dtype, width, negatives):
    info_nce(*embeddings(200, dtype), negatives=negatives).backward()
    of_embeddings, of_log_sums, of_counts = 2 * 200 * CHANNELS * width, 2 * 200 * 4, 8
    assert processes == {"all_reduce": 0, "all_gather": of_embeddings + of_log_sums + of_counts}
