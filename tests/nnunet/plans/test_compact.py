import copy
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.plans.compact import add_compact_configuration, compact_spacing

SOURCES = ["nnUNetPlans", "nnUNetResEncUNetPlans"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_the_compact_network_can_be_built_and_run(planned, source, configuration):
    plans = add_compact_configuration(read_json(planned / f"{source}.json"), configuration)
    # Through JSON, as nnU-Net will read it.
    compact = PlansManager(json.loads(json.dumps(plans))).get_configuration(f"{configuration}_compact")
    network = get_network_from_plans(
        compact.network_arch_class_name,
        compact.network_arch_init_kwargs,
        compact.network_arch_init_kwargs_req_import,
        1,
        2,
        deep_supervision=False,
    )
    with torch.no_grad():
        output = network(torch.zeros(2, 1, *compact.patch_size))
    assert output.shape == (2, 2, *compact.patch_size)
    assert source == "nnUNetPlans" or compact.network_arch_class_name.endswith("ResidualEncoderUNet")


@pytest.mark.parametrize(("configuration", "batch_size"), [("2d", 8), ("3d_fullres", 2)])
def test_the_compact_configuration_differs_only_in_size(plans, configuration, batch_size):
    source = plans["configurations"][configuration]
    compact = add_compact_configuration(plans, configuration)["configurations"][f"{configuration}_compact"]
    changed = {key for key in source if compact[key] != source[key]}
    sizes = {"data_identifier", "batch_size", "patch_size", "median_image_size_in_voxels", "spacing", "architecture"}
    assert changed <= sizes
    assert compact["batch_size"] == batch_size
    assert compact["data_identifier"] == f"nnUNetPlans_{configuration}_compact"
    features = compact["architecture"]["arch_kwargs"]["features_per_stage"]
    assert features == [16, 32, 64, 128, 128, 128][: len(features)]


@pytest.mark.parametrize(
    ("configuration", "block", "wanted"),
    [
        ("2d", None, {"finetuning": {"backbone_lr": 0.003}}),
        ("2d", {"finetuning": {"num_epochs": 5}}, {"finetuning": {"backbone_lr": 0.003, "num_epochs": 5}}),
        ("2d", {"finetuning": {"backbone_lr": 0.01}}, {"finetuning": {"backbone_lr": 0.01}}),
        ("3d_fullres", None, None),
        ("3d_fullres", {"finetuning": {"num_epochs": 5}}, {"finetuning": {"num_epochs": 5}}),
    ],
)
def test_in_2d_it_is_fine_tuned_faster_unless_a_rate_is_named(plans, configuration, block, wanted):
    if block is not None:
        plans["configurations"][configuration]["pix2rep"] = block
    before = copy.deepcopy(plans)
    made = add_compact_configuration(plans, configuration)
    assert made["configurations"][f"{configuration}_compact"].get("pix2rep") == wanted
    assert made["configurations"][configuration].get("pix2rep") == block
    assert plans == before


def test_the_preprocessed_data_of_the_source_is_not_claimed(plans):
    plans = add_compact_configuration(plans, "2d")
    identifiers = [content["data_identifier"] for content in plans["configurations"].values()]
    assert len(set(identifiers)) == len(identifiers)


def test_a_compact_first_stage_has_no_second_stage(plans_with_cascade):
    compact = add_compact_configuration(plans_with_cascade, "3d_lowres")["configurations"]["3d_lowres_compact"]
    assert "next_stage" not in compact


def test_a_compact_version_of_an_inherited_configuration_stands_alone(plans):
    plans["configurations"]["2d_large"] = {"inherits_from": "2d", "batch_size": 16}
    compact = add_compact_configuration(plans, "2d_large")["configurations"]["2d_large_compact"]
    assert compact.keys() == plans["configurations"]["2d"].keys() | {"pix2rep"}


def test_thick_slices_keep_their_spacing():
    spacing, size = compact_spacing([8.0, 1.25, 1.25], [10, 256, 256])
    assert spacing == [8.0, 5.0, 5.0]
    assert size == [10.0, 64.0, 64.0]


def test_pixels_stay_square():
    assert compact_spacing([1.0, 1.0], [256, 200]) == ([2.0, 2.0], [128.0, 100.0])


def test_many_slices_do_not_coarsen_the_pixels():
    assert compact_spacing([1.0, 1.0, 1.0], [640, 64, 50]) == ([10.0, 1.0, 1.0], [64.0, 64.0, 50.0])


def test_small_images_stay_as_they_are():
    assert compact_spacing([1.0, 1.0, 1.0], [36, 50, 35]) == ([1.0, 1.0, 1.0], [36.0, 50.0, 35.0])


@given(
    st.integers(2, 3).flatmap(
        lambda dimension: st.tuples(
            st.lists(st.floats(0.1, 10), min_size=dimension, max_size=dimension),
            st.lists(st.integers(8, 1000), min_size=dimension, max_size=dimension),
        )
    )
)
def test_any_compact_image_fits_its_bounds(spacing_and_size):
    spacing, size = spacing_and_size
    new_spacing, new_size = compact_spacing(spacing, size)
    assert max(new_size) <= (128 if len(spacing) == 2 else 64)
    assert all(new >= old for new, old in zip(new_spacing, spacing, strict=True))
    extents = [width * edge for width, edge in zip(size, spacing, strict=True)]
    assert [width * edge for width, edge in zip(new_size, new_spacing, strict=True)] == pytest.approx(extents)


@given(st.lists(st.integers(8, 600), min_size=2, max_size=3), st.floats(1, 8))
def test_any_compact_patch_covers_the_median_image_within_its_bound(planned, size, slice_thickness):
    plans = read_json(planned / "nnUNetPlans.json")
    configuration = "2d" if len(size) == 2 else "3d_fullres"
    plans["configurations"][configuration] |= {
        "median_image_size_in_voxels": size,
        "spacing": [slice_thickness, 1.0, 1.0][-len(size) :],
    }
    compact = add_compact_configuration(plans, configuration)["configurations"][f"{configuration}_compact"]
    arguments = compact["architecture"]["arch_kwargs"]
    for axis, (patch, median) in enumerate(
        zip(compact["patch_size"], compact["median_image_size_in_voxels"], strict=True)
    ):
        divisor = 1
        for stride in arguments["strides"]:
            divisor *= stride[axis]
        assert median - 1e-3 <= patch <= (128 if len(size) == 2 else 64)
        assert patch % divisor == 0
    assert len(arguments["n_conv_per_stage"]) == arguments["n_stages"] == len(arguments["features_per_stage"])
    assert len(arguments["n_conv_per_stage_decoder"]) == arguments["n_stages"] - 1


def test_an_unknown_architecture_has_no_compact_version(plans):
    arguments = plans["configurations"]["2d"]["architecture"]["arch_kwargs"]
    arguments["depths"] = arguments.pop("n_conv_per_stage")
    with pytest.raises(UserError, match="PlainConvUNet"):
        add_compact_configuration(plans, "2d")


def test_a_second_compact_configuration_is_refused(plans):
    with pytest.raises(UserError, match="without --compact"):
        add_compact_configuration(add_compact_configuration(plans, "2d"), "2d")
