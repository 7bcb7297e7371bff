"""Two processes with half the pairs each give the loss and the gradients of one process with all of them."""

from functools import partial

import pytest
import torch
from embeddings import all_losses, random_pairs
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from two_processes import run_in_two_processes

from nnunet_pix2rep.losses.barlow_twins import plain_barlow_twins
from nnunet_pix2rep.losses.distributed import all_reduce_sum, gather_rows, numbers_of_rows, process_rank
from nnunet_pix2rep.losses.info_nce import info_nce, plain_info_nce


def distances_to_the_mean(z_1, z_2):
    """A loss of sums over processes."""
    count = all_reduce_sum(z_1.new_full((), len(z_1)))
    return all_reduce_sum((z_1 - all_reduce_sum(z_2.sum(dim=0)) / count).pow(4).sum() / count)


def all_distances(z_1, z_2):
    """A loss of gathered rows, both as they are and as what they are compared with."""
    counts = numbers_of_rows(z_1)
    return (gather_rows(z_1, counts)[:, None] - gather_rows(z_2, counts)).square().sum(dim=2).sqrt().mean()


LOSSES = all_losses() | {
    "info_nce_in_blocks": partial(info_nce, chunk_size=3),
    "info_nce_few_negatives": partial(info_nce, chunk_size=3, negatives=8),
    "info_nce_several_groups_at_once": partial(info_nce, negatives=8),
    "plain_info_nce": plain_info_nce,
    "plain_info_nce_few_negatives": partial(plain_info_nce, negatives=8),
    "plain_barlow_twins": plain_barlow_twins,
    "distances_to_the_mean": distances_to_the_mean,
    "all_distances": all_distances,
}
ROWS = {"equal": (8, 8), "unequal": (4, 12)}
SCENARIOS = [(loss, rows) for loss in LOSSES for rows in ROWS]


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 5)).double()


def run(loss, z_1, z_2, wrap):
    """Loss, gradients by the embeddings, and gradients by the weights of a network that gets them as input."""
    z_1, z_2 = (z.detach().clone().requires_grad_() for z in (z_1, z_2))
    value = loss(z_1, z_2)
    value.backward()
    network = wrap(small_network())
    embeddings = network(torch.cat([z_1.detach(), z_2.detach()]))
    loss(*embeddings.chunk(2)).backward()
    return {
        "value": value.detach(),
        "embedding_gradients": torch.stack([z_1.grad, z_2.grad]),
        "weight_gradients": [parameter.grad for parameter in network.parameters()],
    }


def work(rank):
    results = {}
    for loss, rows in SCENARIOS:
        start = sum(ROWS[rows][:rank])
        local = [z[start : start + ROWS[rows][rank]] for z in random_pairs(16, 6, torch.float64)]
        results[loss, rows] = run(LOSSES[loss], *local, DistributedDataParallel)
    return results


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    return run_in_two_processes(work, tmp_path_factory.mktemp("two_processes"))


@pytest.fixture
def both(two_processes, request):
    """Results of one process with everything, and of both processes with their share."""
    loss, rows = request.param
    single = run(LOSSES[loss], *random_pairs(16, 6, torch.float64), lambda network: network)
    return single, [results[loss, rows] for results in two_processes]


each_scenario = pytest.mark.parametrize("both", SCENARIOS, indirect=True, ids="-".join)


@each_scenario
def test_the_mean_over_processes_is_the_loss_of_the_joined_batch(both):
    single, parts = both
    torch.testing.assert_close((parts[0]["value"] + parts[1]["value"]) / 2, single["value"], rtol=1e-10, atol=0)


@each_scenario
def test_gradients_by_the_embeddings_divided_by_the_number_of_processes_are_those_of_the_joined_batch(both):
    single, parts = both
    joined = torch.cat([part["embedding_gradients"] for part in parts], dim=1) / 2
    torch.testing.assert_close(joined, single["embedding_gradients"], rtol=1e-10, atol=1e-12)


@each_scenario
def test_distributed_data_parallel_gives_the_weight_gradients_of_the_joined_batch(both):
    single, parts = both
    for part in parts:
        torch.testing.assert_close(part["weight_gradients"], single["weight_gradients"], rtol=1e-10, atol=1e-12)


def test_without_processes_sums_and_gathers_return_their_input():
    rows = torch.randn(3, 2)
    assert all_reduce_sum(rows) is rows
    assert gather_rows(rows, numbers_of_rows(rows)) is rows
    assert process_rank() == 0
