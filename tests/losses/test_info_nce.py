import math
import subprocess
import sys

import pytest
import torch
from embeddings import random_pairs, value_and_gradients
from lightly.loss import NTXentLoss
from torch.utils._python_dispatch import TorchDispatchMode

from nnunet_pix2rep.losses.info_nce import info_nce, plain_info_nce
from nnunet_pix2rep.losses.info_nce_fast import LOWEST_TEMPERATURE_OF_EXPONENTIALS


@pytest.mark.parametrize("loss", [info_nce, plain_info_nce])
@pytest.mark.parametrize("temperature", [0.01, 0.017, 0.07, 0.5, 5.0])
def test_value_and_gradients_are_those_of_lightly(loss, temperature):
    # the lower the temperature, the more float32 rounds, theirs as well as ours
    pairs = [z.double() if temperature < 0.05 else z for z in random_pairs(40, 16)]
    expected = value_and_gradients(NTXentLoss(temperature), *pairs)
    found = value_and_gradients(lambda z_1, z_2: loss(z_1, z_2, temperature), *pairs)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("temperature", [0.01, 0.5])
@pytest.mark.parametrize("negatives", [None, 2, 9, 30])
@pytest.mark.parametrize("chunk_size", [5, 512])
def test_value_and_gradients_are_those_of_the_plain_version(temperature, negatives, chunk_size):
    pairs = random_pairs(41, 6, torch.float64)
    expected = value_and_gradients(lambda z_1, z_2: plain_info_nce(z_1, z_2, temperature, negatives), *pairs)
    found = value_and_gradients(lambda z_1, z_2: info_nce(z_1, z_2, temperature, chunk_size, negatives), *pairs)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("temperature", [0.017, 0.07, 0.5])
def test_groups_in_one_block_give_what_several_blocks_give(temperature):
    pairs = random_pairs(40, 16)
    at_once, in_blocks = (
        value_and_gradients(lambda z_1, z_2, size=size: info_nce(z_1, z_2, temperature, size), *pairs)
        for size in (512, 7)
    )
    for ours, theirs in zip(at_once, in_blocks, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_orthogonal_pairs_have_the_loss_worked_out_by_hand():
    """Every row has its pair at similarity 1 and the six rows of the other pairs at 0."""
    z = torch.eye(4)
    expected = -math.log(math.exp(1 / 0.5) / (math.exp(1 / 0.5) + 6))
    assert info_nce(z, z, temperature=0.5).item() == pytest.approx(expected)


@pytest.mark.parametrize("chunk_size", [1, 3, 5, 24, 1000])
def test_the_chunk_size_does_not_change_value_or_gradients(chunk_size):
    pairs = random_pairs(12, 6, torch.float64)
    expected = value_and_gradients(lambda z_1, z_2: info_nce(z_1, z_2, 0.5, 24), *pairs)
    found = value_and_gradients(lambda z_1, z_2: info_nce(z_1, z_2, 0.5, chunk_size), *pairs)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chunk_size", [1, 2, 4, 7])
def test_the_gradient_is_that_of_the_value_whether_or_not_chunks_divide_the_rows(chunk_size):
    pairs = random_pairs(5, 3, torch.float64)
    assert torch.autograd.gradcheck(lambda z_1, z_2: info_nce(z_1, z_2, 0.3, chunk_size), pairs)


def test_the_gradient_scales_with_what_follows_the_loss():
    """As under a gradient scaler."""
    pairs = random_pairs()
    _, *plain = value_and_gradients(info_nce, *pairs)
    _, *scaled = value_and_gradients(lambda z_1, z_2: 1024 * info_nce(z_1, z_2), *pairs)
    for small, large in zip(plain, scaled, strict=True):
        torch.testing.assert_close(large, 1024 * small)


def test_without_gradients_the_value_is_the_same():
    z_1, z_2 = random_pairs()
    with torch.no_grad():
        value = info_nce(z_1, z_2)
    assert not value.requires_grad
    assert torch.equal(value, info_nce(z_1, z_2).detach())


class LargestTensor(TorchDispatchMode):
    """Remembers the number of elements of the largest result of any operation."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_neither_pass_holds_more_than_one_chunk_of_the_similarity_matrix():
    num_pairs, chunk_size = 2048, 256
    z_1, z_2 = random_pairs(num_pairs, 4)
    with LargestTensor() as largest:
        info_nce(z_1, z_2, chunk_size=chunk_size).backward()
    assert chunk_size**2 == largest.elements  # the full matrix would have 256 times as many


@pytest.mark.parametrize(("num_pairs", "negatives", "groups"), [(40, 18, 4), (41, 18, 5), (40, 78, 1), (40, None, 1)])
@pytest.mark.parametrize("chunk_size", [7, 40, 1024])
def test_with_fewer_negatives_each_group_has_the_loss_of_lightly(num_pairs, negatives, groups, chunk_size):
    pairs = random_pairs(num_pairs, 16)

    def reference(z_1, z_2):
        parts = [slice(group, None, groups) for group in range(groups)]
        return sum(NTXentLoss(0.5)(z_1[part], z_2[part]) * len(z_1[part]) for part in parts) / num_pairs

    expected = value_and_gradients(reference, *pairs)
    found = value_and_gradients(lambda z_1, z_2: info_nce(z_1, z_2, 0.5, chunk_size, negatives), *pairs)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_the_smallest_temperature_that_the_configuration_allows_gives_finite_values():
    """Where the exponentials of all similarities would underflow."""
    for result in value_and_gradients(lambda z_1, z_2: info_nce(z_1, z_2, 1e-3, 5), *random_pairs()):
        assert torch.isfinite(result).all()


def test_equal_pixels_do_not_overflow_at_the_lowest_temperature_of_the_exponentials():
    """Every similarity is 1, the largest exponential there is; 2N - 1 pixels look alike."""
    z = torch.ones(128, 8)
    loss, *gradients = value_and_gradients(
        lambda z_1, z_2: info_nce(z_1, z_2, LOWEST_TEMPERATURE_OF_EXPONENTIALS), z, z.clone()
    )
    assert loss.item() == pytest.approx(math.log(255), rel=1e-5)
    assert all(gradient.abs().max() < 1e-5 for gradient in gradients)


MEASURE = """
import resource, torch
from nnunet_pix2rep.losses.info_nce import info_nce
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
z_1, z_2 = torch.randn(2, 16384, 4, requires_grad=True)
info_nce(z_1, z_2).backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_16384_pairs_fit_into_a_fraction_of_the_full_matrix():
    pytest.importorskip("resource", reason="peak memory is measured on Unix only")
    used = subprocess.run([sys.executable, "-c", MEASURE], check=True, capture_output=True, encoding="utf-8").stdout
    kilobytes = int(used) / (1024 if sys.platform == "darwin" else 1)  # ru_maxrss is in bytes there
    assert kilobytes < 32768**2 * 4 / 1024 / 4
