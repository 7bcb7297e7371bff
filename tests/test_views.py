import dataclasses
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from nnunet_pix2rep.config import ViewsConfig
from nnunet_pix2rep.geometry.grids import TransformRanges
from nnunet_pix2rep.nnunet.random_state import global_seed
from nnunet_pix2rep.sampling import features_at_points
from nnunet_pix2rep.views import ViewMaker

DEFAULTS = ViewsConfig()
INTENSITIES = [
    item.name
    for item in dataclasses.fields(ViewsConfig)
    if item.name.endswith("_probability") and item.name not in ("elastic_probability", "multiscale_probability")
]
NO_INTENSITIES = replace(DEFAULTS, **dict.fromkeys(INTENSITIES, 0.0))
ALL_INTENSITIES = replace(DEFAULTS, **dict.fromkeys(INTENSITIES, 1.0))

VIEWS = {2: (24, 32), 3: (12, 16, 20)}
CONTEXTS = {2: (37, 45), 3: (17, 22, 28)}
RANGES = TransformRanges(
    rotation=(-math.pi, math.pi),
    mirror_axes=(0, 1, 2),
    zoom=(0.5, 1.25),
    translation=0.1,
    elastic_probability=1.0,
    elastic_amplitudes=(0.0625, 0.02),
)
# Where the image lies in the context, in voxels along each axis, as (free before, free behind).
PADDINGS = {"none": (0, 0), "before": (9, 0), "behind": (0, 9), "thin": (8, 8)}
SCALES = {"plain": 0.0, "multiscale": 1.0}

each_dimension = pytest.mark.parametrize("dimension", [2, 3])


def view_maker(dimension, config=NO_INTENSITIES, num_points=200, **ranges):
    return ViewMaker(VIEWS[dimension], replace(RANGES, **ranges), config, num_points)


def whole(context):
    return [0] * (context.ndim - 1), list(context.shape[1:])


def make(maker, context, box=None, seed=0):
    with global_seed(seed):
        return maker(context, *(box or whole(context)), np.random.default_rng(seed))


def voxel_coordinates(shape):
    """An image whose channels are its own voxel coordinates, which linear interpolation reproduces exactly."""
    return torch.stack(torch.meshgrid(*[torch.arange(float(length)) for length in shape], indexing="ij"))


def coordinates_at_points(pair):
    """The voxel of the context that each point of view 1 and of view 2 shows, for a context of voxel coordinates."""
    return tuple(
        features_at_points(view[None], points[None])[0]
        for view, points in ((pair.view_1, pair.points_1), (pair.view_2, pair.points_2))
    )


@pytest.mark.parametrize(("dimension", "in_plane_only"), [(2, False), (3, False), (3, True)])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("padding", PADDINGS)
def test_paired_points_show_the_same_voxel_of_the_image_and_never_padding(dimension, scale, padding, in_plane_only):
    context = voxel_coordinates(CONTEXTS[dimension])
    before, behind = PADDINGS[padding]
    start = [0] * (dimension - 1) + [before]
    stop = [*CONTEXTS[dimension][:-1], CONTEXTS[dimension][-1] - behind]
    config = replace(NO_INTENSITIES, multiscale_probability=SCALES[scale])
    maker = view_maker(dimension, config, in_plane_only=in_plane_only)
    for seed in range(8):
        pair = make(maker, context, (start, stop), seed)
        voxels_1, voxels_2 = coordinates_at_points(pair)
        # nearer to the edge of view 1 than half a voxel, features are constant
        inside = (pair.points_1.abs() <= 1 - 1 / torch.tensor(VIEWS[dimension][::-1])).all(dim=1)
        assert inside.sum() > 20
        torch.testing.assert_close(voxels_1[inside], voxels_2[inside], rtol=0, atol=1e-3)
        assert (voxels_1 - voxels_2).abs().max() < 0.6
        assert (voxels_2 >= torch.tensor(start) - 0.501).all()
        assert (voxels_2 <= torch.tensor(stop) - 0.499).all()


@each_dimension
@pytest.mark.parametrize("scale", SCALES)
def test_an_image_that_is_a_small_part_of_the_context_still_gives_pairs(dimension, scale):
    """As where nnU-Net pads an image that is smaller than the patch."""
    context = voxel_coordinates(CONTEXTS[dimension])
    middle = [length // 2 for length in CONTEXTS[dimension]]
    box = [index - 1 for index in middle], [index + 2 for index in middle]
    maker = view_maker(dimension, replace(NO_INTENSITIES, multiscale_probability=SCALES[scale]), num_points=10)
    for seed in range(30):
        _, voxels_2 = coordinates_at_points(make(maker, context, box, seed))
        assert (voxels_2 >= torch.tensor(box[0]) - 0.501).all()
        assert (voxels_2 <= torch.tensor(box[1]) - 0.499).all()


@each_dimension
def test_nothing_but_padding_is_refused(dimension):
    with pytest.raises(ValueError, match="padding"):
        make(view_maker(dimension), torch.zeros(1, *CONTEXTS[dimension]), ([0] * dimension, [1] * dimension))


@each_dimension
def test_view_1_is_the_center_of_the_context(dimension):
    context = voxel_coordinates(CONTEXTS[dimension])
    view = make(view_maker(dimension), context).view_1
    starts = [(length - n) // 2 for length, n in zip(CONTEXTS[dimension], VIEWS[dimension], strict=True)]
    assert view.flatten(1)[:, 0].tolist() == starts
    assert view.shape == (dimension, *VIEWS[dimension])


@each_dimension
def test_a_multiscale_view_is_a_smaller_square_from_anywhere_within_the_plain_one(dimension):
    context = voxel_coordinates(CONTEXTS[dimension])
    maker = view_maker(dimension, replace(NO_INTENSITIES, multiscale_probability=1.0, multiscale_range=(0.5, 0.5)))
    width = min(VIEWS[dimension]) / 2
    starts = []
    for seed in range(20):
        view = make(maker, context, seed=seed).view_1.flatten(1)
        step = torch.tensor([width / length for length in VIEWS[dimension]])
        torch.testing.assert_close(view[:, -1] - view[:, 0] + step, torch.full((dimension,), width), rtol=0, atol=1e-3)
        starts.append(view[:, 0])
    plain = make(view_maker(dimension), context).view_1.flatten(1)
    starts = torch.stack(starts)
    assert (starts >= plain[:, 0] - 0.5).all()
    assert (starts + width <= plain[:, -1] + 1).all()
    assert (starts.std(dim=0) > 0.5).all()


def test_in_plane_multiscale_keeps_the_first_axis():
    maker = view_maker(3, replace(NO_INTENSITIES, multiscale_probability=1.0), in_plane_only=True)
    view = make(maker, voxel_coordinates(CONTEXTS[3])).view_1
    first = (CONTEXTS[3][0] - VIEWS[3][0]) // 2
    torch.testing.assert_close(view[0, :, 0, 0], torch.arange(first, first + VIEWS[3][0]).float(), rtol=0, atol=1e-4)


@each_dimension
@pytest.mark.parametrize("num_channels", [1, 4])
def test_shapes_and_types(dimension, num_channels):
    pair = make(view_maker(dimension, DEFAULTS, num_points=7), torch.randn(num_channels, *CONTEXTS[dimension]))
    for view in (pair.view_1, pair.view_2):
        assert view.shape == (num_channels, *VIEWS[dimension])
        assert view.dtype == torch.float32
    for points in (pair.points_1, pair.points_2):
        assert points.shape == (7, dimension)
        assert points.dtype == torch.float32


@each_dimension
def test_points_lie_within_the_views(dimension):
    for seed in range(10):
        pair = make(view_maker(dimension, DEFAULTS), torch.randn(1, *CONTEXTS[dimension]), seed=seed)
        assert pair.points_1.abs().max() <= 1
        assert pair.points_2.abs().max() < 1


def test_a_context_no_larger_than_the_view_is_enough():
    pair = make(view_maker(2), voxel_coordinates(VIEWS[2]))
    voxels_1, voxels_2 = coordinates_at_points(pair)
    inside = (pair.points_1.abs() <= 1 - 1 / torch.tensor(VIEWS[2][::-1])).all(dim=1)
    torch.testing.assert_close(voxels_1[inside], voxels_2[inside], rtol=0, atol=1e-3)


@each_dimension
def test_the_seeds_decide_everything(dimension):
    context = torch.randn(2, *CONTEXTS[dimension])
    maker = view_maker(dimension, DEFAULTS)
    first, again, other = (make(maker, context, seed=seed) for seed in (5, 5, 6))
    for name in ("view_1", "view_2", "points_1", "points_2"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))


@each_dimension
def test_the_context_stays_as_it_is(dimension):
    context = torch.randn(2, *CONTEXTS[dimension])
    before = context.clone()
    pair = make(view_maker(dimension, ALL_INTENSITIES), context)
    pair.view_1.zero_()
    assert torch.equal(context, before)


@each_dimension
def test_the_two_appearances_differ_where_the_place_is_the_same(dimension):
    maker = ViewMaker(VIEWS[dimension], TransformRanges(), DEFAULTS, num_points=10)
    context = torch.randn(1, *CONTEXTS[dimension])
    differences = [pair.view_1 - pair.view_2 for pair in (make(maker, context, seed=seed) for seed in range(10))]
    assert sum(difference.abs().mean() > 0.05 for difference in differences) >= 8


@each_dimension
@pytest.mark.parametrize("name", INTENSITIES)
def test_each_intensity_transform_changes_the_image_when_its_probability_is_1(dimension, name):
    maker = ViewMaker(VIEWS[dimension], TransformRanges(), replace(NO_INTENSITIES, **{name: 1.0}), num_points=10)
    context = torch.randn(1, *CONTEXTS[dimension])
    plain = ViewMaker(VIEWS[dimension], TransformRanges(), NO_INTENSITIES, num_points=10)
    changed = [
        not torch.allclose(make(maker, context, seed=seed).view_1, make(plain, context, seed=seed).view_1, atol=1e-3)
        for seed in range(5)
    ]
    assert sum(changed) >= 3


def ends_of_ranges(index):
    """All intensity transforms, each at one end of the range that the configuration allows."""
    changes = {}
    for item in dataclasses.fields(ViewsConfig):
        if item.name.endswith(("_range", "_variance", "_sigma", "_strength")) and item.name != "multiscale_range":
            end = (item.metadata["low"], item.metadata["high"])[index]
            changes[item.name] = (end, end)
    return replace(ALL_INTENSITIES, **changes)


CONFIGS = {"defaults": ALL_INTENSITIES, "lowest": ends_of_ranges(0), "highest": ends_of_ranges(1)}


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("content", ["constant", "noise"])
@pytest.mark.parametrize(
    ("size", "in_plane_only"), [((4, 4), False), ((24, 32), False), ((4, 8, 8), False), ((4, 8, 8), True)]
)
def test_views_are_finite_over_the_whole_range_of_every_setting(config, content, size, in_plane_only):
    """4 voxels are the shortest patch that nnU-Net plans."""
    context = torch.ones(2, *size) if content == "constant" else torch.randn(2, *size)
    maker = ViewMaker(size, replace(RANGES, in_plane_only=in_plane_only), CONFIGS[config], num_points=10)
    for seed in range(5):
        pair = make(maker, context, seed=seed)
        assert torch.isfinite(pair.view_1).all()
        assert torch.isfinite(pair.view_2).all()
