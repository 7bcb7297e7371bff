from dataclasses import replace

import pytest
import torch

from nnunet_pix2rep.config import HeadConfig, InfoNCEConfig, PretrainingConfig, SamplingConfig
from nnunet_pix2rep.speed.measurements.costs import losses_of, measure_head_and_loss, measure_scaling
from nnunet_pix2rep.speed.timing.timer import HostTimer

CPU = torch.device("cpu")
SMALL = PretrainingConfig(
    sampling=SamplingConfig(num_points=64),
    head=HeadConfig(hidden_channels=8, channels=8),
    info_nce=InfoNCEConfig(negatives=14),
)


def test_every_loss_is_measured_and_infonce_with_all_negatives_too():
    assert list(losses_of(SMALL)) == ["barlow_twins", "info_nce, 14 negatives", "info_nce, all negatives"]
    of_all = replace(SMALL, info_nce=InfoNCEConfig(negatives=None))
    assert list(losses_of(of_all)) == ["barlow_twins", "info_nce, all negatives"]
    assert losses_of(SMALL)["info_nce, all negatives"].negatives is None


def test_the_sampled_path_takes_less_memory_than_the_dense_one():
    shapes = {"hypercolumn": [(6, 16, 16), (4, 32, 32)]}
    results = measure_head_and_loss(shapes, 2, SMALL, 1, CPU, HostTimer(CPU))
    assert [result["loss"] for result in results] == list(losses_of(SMALL))
    for result in results:
        assert result["channels"] == 10
        assert result["patch"] == [32, 32]
        assert result["seconds"].keys() == result["peak_bytes"].keys() == {"sampled", "dense"}
        assert result["memory_ratio"] == result["peak_bytes"]["sampled"] / result["peak_bytes"]["dense"] < 0.5
        assert result["speed_up"] > 0


def test_fewer_pixel_pairs_than_images_are_two_for_each_as_in_a_training():
    few = replace(SMALL, sampling=SamplingConfig(num_points=2))
    results = measure_head_and_loss({"last_stage": [(4, 8, 8)]}, 3, few, 1, CPU, HostTimer(CPU))
    assert [result["pixel_pairs"] for result in results] == [6, 6, 6]


@pytest.fixture(scope="module")
def scaling():
    config = replace(SMALL, head=HeadConfig(8, 32), info_nce=InfoNCEConfig(negatives=14, chunk_size=256))
    results = measure_scaling(2048, 32, 2, config, 1, CPU, HostTimer(CPU))
    return {(result["loss"], result["against"]): result for result in results}


def test_every_loss_is_measured_against_everything(scaling):
    assert len(scaling) == 9
    assert scaling["barlow_twins", "sampled pixels"]["sizes"] == [1024, 2048]
    assert scaling["barlow_twins", "pixels of the image"]["sizes"] == [64, 256, 1024, 4096]
    assert scaling["barlow_twins", "batch size"]["sizes"] == [1, 2, 4]


def test_memory_grows_no_faster_than_the_sampled_pixels(scaling):
    for (_, against), result in scaling.items():
        if against == "sampled pixels":
            assert 0.5 < result["memory_exponent"] < 1.05
