import numpy as np
import pytest
import torch
from torch import nn

from nnunet_pix2rep.geometry.grids import TransformRanges
from nnunet_pix2rep.masked_autoencoder import (
    MaskedPatchMaker,
    MaskedReconstructor,
    block_size_of,
    draw_visible,
    explained_variance,
    masked_squared_error,
    standardize,
)


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("strides", "expected"),
    [
        ([[1, 1], [2, 2], [2, 2]], (4, 4)),
        ([[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2], [1, 2, 2]], (4, 16, 16)),
    ],
)
def test_a_block_is_as_wide_as_the_stride_but_no_wider_than_asked(strides, expected):
    assert block_size_of(strides, largest=16) == expected


@pytest.mark.parametrize(("size", "block"), [((32, 48), (8, 8)), ((6, 32, 32), (2, 16, 16))])
def test_whole_blocks_are_masked_and_as_many_as_asked(size, block):
    visible = draw_visible(size, block, 0.75, generator()).numpy()
    assert visible.shape == size
    assert visible.mean() == pytest.approx(0.25, abs=1 / (visible.size / np.prod(block)))
    for axis, width in enumerate(block):
        blocks = np.stack(np.split(visible, size[axis] // width, axis), -1)
        assert (blocks == blocks.take([0], axis)).all()


@pytest.mark.parametrize("ratio", [0.01, 0.99])
def test_something_is_always_masked_and_something_visible(ratio):
    visible = draw_visible((16, 16), (8, 8), ratio, generator())
    assert 0 < visible.sum() < visible.numel()


def test_a_last_block_that_does_not_fit_is_cut_off():
    assert draw_visible((10, 7), (4, 4), 0.5, generator()).shape == (10, 7)


def test_a_single_block_is_refused():
    with pytest.raises(ValueError, match="single block"):
        draw_visible((8, 8), (8, 16), 0.5, generator())


def test_masks_follow_the_generator():
    first, again, other = (draw_visible((32, 32), (4, 4), 0.75, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_movement_the_patch_is_the_center_and_padding_does_not_count():
    context = torch.from_numpy(generator().normal(size=(2, 20, 24))).float()
    maker = MaskedPatchMaker((16, 16), TransformRanges(), (4, 4), 0.75)
    patch = maker(context, image_start=(0, 10), image_stop=(20, 24), generator=generator())
    torch.testing.assert_close(patch.image, context[:, 2:18, 4:20], atol=1e-4, rtol=0)
    assert not (patch.counted & patch.visible).any()
    assert not patch.counted[..., :6].any()
    assert (patch.counted | patch.visible)[..., 6:].all()


def test_patches_move_sometimes():
    context = torch.from_numpy(generator().normal(size=(1, 24, 24))).float()
    maker = MaskedPatchMaker((16, 16), TransformRanges(rotation=(-3, 3), zoom=(0.7, 1.4)), (4, 4), 0.75)
    plain = context[:, 4:20, 4:20]
    images = [maker(context, (0, 0), (24, 24), generator(seed)).image for seed in range(200)]
    still = np.mean([torch.allclose(image, plain, atol=1e-4) for image in images])
    assert still == pytest.approx(0.8 * 0.8, abs=0.1)


def test_the_error_is_that_of_the_counted_voxels():
    images = torch.zeros(1, 2, 2, 2)
    reconstruction = torch.tensor([[[[1.0, 9], [2, 9]], [[3.0, 9], [4, 9]]]])
    counted = torch.tensor([[[[True, False], [True, False]]]])
    assert masked_squared_error(reconstruction, images, counted) == (1 + 4 + 9 + 16) / 4
    assert masked_squared_error(reconstruction, images, counted & False) == 0


def test_explained_variance_of_known_reconstructions():
    images = torch.from_numpy(generator().normal(3, 2, (2, 1, 8, 8))).float()
    counted = torch.from_numpy(generator(1).random((2, 1, 8, 8)) < 0.5)
    assert explained_variance(images, images, counted) == 1
    mean = torch.full_like(images, float(images[counted].mean()))
    assert explained_variance(mean, images, counted) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("dimension", [2, 3])
def test_training_paints_what_is_masked(dimension):
    convolution = nn.Conv2d if dimension == 2 else nn.Conv3d
    torch.manual_seed(0)

    class Features(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(convolution(1, 8, 5, padding=2), nn.ReLU(), convolution(8, 8, 5, padding=2))

        def forward(self, images):
            return [self.layers(images)]

    network = MaskedReconstructor(Features(), 8, 1, dimension)
    size = (16,) * dimension
    images = torch.linspace(-1, 1, 16).expand(2, 1, *size)
    visible = torch.stack([draw_visible(size, (2,) * dimension, 0.5, generator(seed)) for seed in (0, 1)])[:, None]
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(20):
        loss = masked_squared_error(network(images * visible), images, ~visible)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_standardized_channels_have_mean_0_and_deviation_1_and_others_stay():
    images = torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(0)) * 1000 + 5000
    images[0, 2] = 7.0
    result = standardize(images, torch.tensor([True, False, True]))
    assert torch.equal(result[:, 1], images[:, 1])
    assert torch.equal(result[0, 2], torch.zeros(8, 9))
    for image, channel in ((0, 0), (1, 0), (1, 2)):
        assert result[image, channel].mean().item() == pytest.approx(0, abs=1e-5)
        assert result[image, channel].std(unbiased=False).item() == pytest.approx(1, abs=1e-5)
