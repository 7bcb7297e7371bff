from dataclasses import replace

import numpy as np
import pytest
import torch
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from preprocessed_cases import nnUNetDatasetBlosc2, nnUNetDatasetNumpy, write_cases

from nnunet_pix2rep.config import ViewsConfig
from nnunet_pix2rep.geometry.grids import TransformRanges
from nnunet_pix2rep.nnunet.data.preprocessed_images import preprocessed_cases
from nnunet_pix2rep.nnunet.loading.patch_loader import ViewPairLoader, start_workers
from nnunet_pix2rep.nnunet.random_state import global_seed
from nnunet_pix2rep.sampling import features_at_points
from nnunet_pix2rep.views import ViewMaker

# batchgenerators' thread may find its workers gone when a test is over and stops them.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

SHAPE = (6, 30, 34)
NUM_CASES = 4
VIEWS = {2: (16, 20), 3: (4, 16, 20)}
CONTEXTS = {2: (22, 26), 3: (6, 22, 26)}
PLAIN = replace(ViewsConfig(), **{name: 0.0 for name in vars(ViewsConfig()) if name.endswith("_probability")})
LABELS = LabelManager({"background": 0, "a": 1}, regions_class_order=None)


def textured(seed, shape=SHAPE, num_channels=1):
    return np.random.default_rng(seed).normal(size=(num_channels, *shape))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    images = {f"case_{number}": textured(number) for number in range(NUM_CASES)}
    return write_cases(tmp_path_factory.mktemp("loader") / "data", images)


@pytest.fixture(scope="module")
def numbered_folder(tmp_path_factory):
    """Images whose voxels all tell their case and slice: 100 * case + slice + 1, in two channels of opposite sign."""
    slices = np.arange(1, SHAPE[0] + 1)[:, None, None] * np.ones(SHAPE)
    images = {f"case_{number}": np.stack([slices, -slices]) + 100 * number for number in range(NUM_CASES)}
    return write_cases(tmp_path_factory.mktemp("numbered") / "data", images)


def make_loader(folder, dimension=2, config=None, labels=LABELS, context=None, **options):
    view_maker = ViewMaker(
        VIEWS[dimension],
        TransformRanges(rotation=(-1, 1), mirror_axes=(1,), zoom=(0.8, 1.2), in_plane_only=dimension == 3),
        config or ViewsConfig(),
        num_points=12,
    )
    context = context or CONTEXTS[dimension]
    return ViewPairLoader(preprocessed_cases(str(folder)), 3, context, view_maker, labels, seed=(7, 0, 1), **options)


def assert_same(first, second):
    assert first.keys() == second.keys() == {"images", "points", "keys"}
    assert list(first["keys"]) == list(second["keys"])
    for name in ("images", "points"):
        assert torch.equal(first[name], second[name])


def take(loader, num_batches):
    batches = start_workers(loader, pin_memory=False)
    try:
        return [next(batches) for _ in range(num_batches)]
    finally:
        if hasattr(batches, "_finish"):
            batches._finish()


@pytest.mark.parametrize("num_workers", [1, 2])
def test_batches_are_the_same_with_any_number_of_workers(folder, num_workers):
    expected = take(make_loader(folder, num_workers=0), 5)
    for batch, other in zip(take(make_loader(folder, num_workers=num_workers), 5), expected, strict=True):
        assert_same(batch, other)
    assert not torch.equal(expected[0]["images"], expected[1]["images"])


def test_a_resumed_training_goes_on_with_the_batches_of_an_uninterrupted_one(folder):
    uninterrupted = take(make_loader(folder, num_workers=0), 6)
    resumed = take(make_loader(folder, num_workers=2, first_index=3), 3)
    for batch, other in zip(resumed, uninterrupted[3:], strict=True):
        assert_same(batch, other)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_repeat_after_the_period(folder, num_workers):
    batches = take(make_loader(folder, num_workers=num_workers, period=3), 7)
    for batch, later in zip(batches, batches[3:], strict=False):
        assert_same(batch, later)
    assert not torch.equal(batches[0]["images"], batches[1]["images"])
    assert not torch.equal(batches[0]["images"], batches[2]["images"])


def test_another_seed_gives_other_batches(folder):
    first, second = make_loader(folder), make_loader(folder)
    second.seed = (7, 1, 1)
    assert not torch.equal(first.make_batch(0)["images"], second.make_batch(0)["images"])


def test_the_global_random_generators_stay_as_they_are_and_do_not_matter(folder):
    loader = make_loader(folder)
    first = loader.make_batch(3)
    np.random.seed(5)
    torch.manual_seed(5)
    numpy_state, torch_state = np.random.get_state(), torch.random.get_rng_state()
    assert_same(loader.make_batch(3), first)
    assert all(np.array_equal(a, b) for a, b in zip(numpy_state, np.random.get_state(), strict=True))
    assert torch.equal(torch_state, torch.random.get_rng_state())


def test_the_global_generators_return_after_a_failure_too():
    torch_state = torch.random.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()

    def fail():
        with global_seed(3):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])


@pytest.mark.parametrize("dimension", [2, 3])
def test_shapes_and_types(numbered_folder, dimension):
    batch = make_loader(numbered_folder, dimension).make_batch(0)
    assert batch["images"].shape == (6, 2, *VIEWS[dimension])
    assert batch["points"].shape == (6, 12, dimension)
    assert batch["images"].dtype == batch["points"].dtype == torch.float32
    assert len(batch["keys"]) == 3
    assert batch["images"].is_contiguous()


def test_all_views_1_come_first_then_all_views_2_in_the_order_of_the_keys(numbered_folder):
    loader = make_loader(numbered_folder, config=PLAIN)
    slices_seen, cases_seen = set(), set()
    for index in range(20):
        batch = loader.make_batch(index)
        values = features_at_points(batch["images"], batch["points"])
        for position, key in enumerate(batch["keys"]):
            number = int(key.removeprefix("case_"))
            # the median, since at the edge of the image, interpolation mixes in padding
            view_1, view_2 = (values[place].median(dim=0).values - 100 * number for place in (position, position + 3))
            torch.testing.assert_close(view_1, view_2, rtol=0, atol=1e-3)
            torch.testing.assert_close(view_1[0], -view_1[1], rtol=0, atol=1e-3)
            slices_seen.add(round(view_1[0].item()))
            cases_seen.add(number)
    assert slices_seen == set(range(1, SHAPE[0] + 1))
    assert cases_seen == set(range(NUM_CASES))


def test_3d_views_of_both_kinds_show_the_same_slices(numbered_folder):
    loader = make_loader(numbered_folder, 3, config=PLAIN)
    for index in range(5):
        batch = loader.make_batch(index)
        first, second = features_at_points(batch["images"], batch["points"]).chunk(2)
        differences = (first - second).abs().amax(dim=2)
        assert differences.median() < 1e-3
        # at the edge of the image, interpolation mixes in padding
        assert (differences < 0.6).float().mean() > 0.8


@pytest.mark.parametrize("dimension", [2, 3])
def test_images_smaller_than_the_view_are_padded_and_padding_is_not_sampled(tmp_path, dimension):
    folder = write_cases(tmp_path / "data", {"small": np.full((1, 3, 9, 40), 5.0)})
    loader = make_loader(folder, dimension, config=PLAIN)
    for index in range(5):
        batch = loader.make_batch(index)
        values = features_at_points(batch["images"], batch["points"])
        assert values.min() >= 2.4  # at an edge of the image, linear interpolation mixes in half of the padding
        assert (values > 4.9).float().mean() > 0.5
        assert batch["images"].min() == 0


def test_a_context_no_larger_than_the_view_is_enough(folder):
    assert make_loader(folder, context=VIEWS[2]).make_batch(0)["images"].shape == (6, 1, *VIEWS[2])


@pytest.mark.parametrize("dataset_class", [nnUNetDatasetBlosc2, nnUNetDatasetNumpy])
def test_labels_are_never_opened(tmp_path, dataset_class):
    images = {f"case_{number}": textured(number) for number in range(NUM_CASES)}
    folder = write_cases(tmp_path / "data", images, dataset_class)
    expected = make_loader(folder).make_batch(0)
    for path in [*folder.glob("*_seg.b2nd"), *folder.glob("*.pkl")]:
        path.write_bytes(b"no labels")
    for path in folder.glob("*.npz"):
        np.savez_compressed(path, data=np.load(path)["data"])
    assert_same(make_loader(folder).make_batch(0), expected)


def test_formats_give_the_same_batches(tmp_path, folder):
    images = {f"case_{number}": textured(number) for number in range(NUM_CASES)}
    numpy_folder = write_cases(tmp_path / "data", images, nnUNetDatasetNumpy)
    assert_same(make_loader(numpy_folder).make_batch(1), make_loader(folder).make_batch(1))


def test_an_ignore_label_changes_nothing(folder):
    labels = LabelManager({"background": 0, "a": 1, "ignore": 2}, regions_class_order=None)
    assert labels.has_ignore_label
    assert_same(make_loader(folder, labels=labels).make_batch(0), make_loader(folder).make_batch(0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_that_is_not_finite_gives_a_batch_that_names_it(tmp_path, value):
    folder = write_cases(tmp_path / "data", {"broken": np.full((1, *SHAPE), value)})
    for num_workers in (0, 1):
        (batch,) = take(make_loader(folder, num_workers=num_workers), 1)
        assert set(batch) == {"error"}
        assert "case broken" in batch["error"]
        assert str(folder) in batch["error"]


def test_a_damaged_image_gives_a_batch_that_names_it(tmp_path):
    folder = write_cases(tmp_path / "data", {"broken": textured(0)})
    path = folder / "broken.b2nd"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    batch = make_loader(folder).make_batch(0)
    assert set(batch) == {"error"}
    assert "broken" in batch["error"]
