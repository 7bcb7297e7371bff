"""Plans for images of one's own that the weights of another dataset's training fit."""

import pytest
from planned_dataset import DATASET as OWN
from tiny_training import DATASET

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.checkpoints.export import export_checkpoint
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file, save_checkpoint_file
from nnunet_pix2rep.nnunet.checkpoints.plans_of_weights import write_plans_of_weights
from nnunet_pix2rep.nnunet.checkpoints.transfer import transfer_weights
from nnunet_pix2rep.nnunet.networks.planned_network import PlannedNetwork

NAME = "HospitalA"


@pytest.fixture
def own(planned_copy):
    """The preprocessed folder of a planned dataset; the checkpoints are of another, smaller network."""
    return planned_copy


def with_channels(folder, names):
    """Gives a planned dataset other channels, as nnU-Net would plan them."""
    dataset_json = read_json(folder / "dataset.json")
    write_json(dataset_json | {"channel_names": dict(enumerate(names))}, folder / "dataset.json")
    plans = read_json(folder / "nnUNetPlans.json")
    schemes = ["CTNormalization" if name == "CT" else "ZScoreNormalization" for name in names]
    for configuration in plans["configurations"].values():
        configuration |= {"normalization_schemes": schemes, "use_mask_for_norm": [True] * len(names)}
    intensities = plans["foreground_intensity_properties_per_channel"]["0"]
    plans["foreground_intensity_properties_per_channel"] = {
        str(index): intensities | {"mean": 40.0 + index} for index in range(len(names))
    }
    write_json(plans, folder / "nnUNetPlans.json")


def test_the_weights_fit_a_network_that_is_planned_so(own, pretrained_checkpoint):
    written = write_plans_of_weights(OWN, "2d", pretrained_checkpoint, plans_name=NAME)
    assert written.file == own / f"{NAME}.json"
    planned = PlannedNetwork(read_json(written.file), "2d", read_json(own / "dataset.json"))
    checkpoint = load_checkpoint_file(pretrained_checkpoint)
    transfer_weights(checkpoint, planned.build(), pretrained_checkpoint, lambda _line: None)
    other = checkpoint["init_args"]["plans"]["configurations"]["2d"]
    for name in ("spacing", "patch_size", "architecture", "batch_size"):
        assert planned.settings[name] == other[name]


def test_names_are_the_datasets_own_and_the_other_one_is_named(own, pretrained_checkpoint):
    written = write_plans_of_weights(OWN, "2d", pretrained_checkpoint, plans_name=NAME)
    plans = read_json(written.file)
    assert (plans["dataset_name"], plans["plans_name"]) == (OWN, NAME)
    assert plans["configurations"].keys() == {"2d"}
    assert plans["configurations"]["2d"]["data_identifier"] == f"{NAME}_2d"
    assert plans["image_reader_writer"] == read_json(own / "nnUNetPlans.json")["image_reader_writer"]
    assert written.dataset_name == DATASET


def test_channels_that_are_normalized_alike_keep_the_intensities_of_the_weights(own, pretrained_checkpoint):
    with_channels(own, ["MRI"])
    written = write_plans_of_weights(OWN, "2d", pretrained_checkpoint, plans_name=NAME)
    assert not written.has_own_normalization
    assert written.num_channels == (1, 1)
    intensities = read_json(written.file)["foreground_intensity_properties_per_channel"]
    assert intensities["0"]["mean"] == 1.0


@pytest.mark.parametrize("names", [["CT"], ["MRI", "CT"], ["MRI", "MRI"]])
def test_other_channels_are_normalized_as_in_the_datasets_own_plans(own, pretrained_checkpoint, names):
    with_channels(own, names)
    written = write_plans_of_weights(OWN, "2d", pretrained_checkpoint, plans_name=NAME)
    plans, of_own = read_json(written.file), read_json(own / "nnUNetPlans.json")
    assert written.has_own_normalization
    assert written.num_channels == (1, len(names))
    for name in ("normalization_schemes", "use_mask_for_norm"):
        assert plans["configurations"]["2d"][name] == of_own["configurations"]["2d"][name]
    key = "foreground_intensity_properties_per_channel"
    assert plans[key] == of_own[key]


def test_settings_of_the_weights_plans_are_kept_unless_set_anew(own, pretrained_checkpoint):
    written = write_plans_of_weights(
        OWN, "2d", pretrained_checkpoint, plans_name=NAME, settings=["finetuning.num_epochs=7"]
    )
    block = read_json(written.file)["configurations"]["2d"]["pix2rep"]
    assert block["finetuning"]["num_epochs"] == 7
    assert block["pretraining"]["head"]["channels"] == 8  # of tiny_training.PRETRAINING


def test_an_exported_file_is_enough(own, pretrained_checkpoint, tmp_path):
    export_checkpoint(pretrained_checkpoint, "nnunet", tmp_path / "weights.pth")
    first = write_plans_of_weights(OWN, "2d", pretrained_checkpoint, plans_name=NAME)
    second = write_plans_of_weights(OWN, "2d", tmp_path / "weights.pth", plans_name=NAME, overwrite=True)
    assert read_json(first.file) == read_json(second.file)


def test_a_checkpoint_with_settings_of_an_earlier_version_is_understood(own, pretrained_checkpoint, tmp_path):
    content = load_checkpoint_file(pretrained_checkpoint)
    content["init_args"]["plans"]["configurations"]["2d"]["pix2rep"] = {"pretraining": {"temperature": 0.25}}
    save_checkpoint_file(content, tmp_path / "earlier.pth")
    written = write_plans_of_weights(OWN, "2d", tmp_path / "earlier.pth", plans_name=NAME)
    block = read_json(written.file)["configurations"]["2d"]["pix2rep"]
    assert block == {"pretraining": {"info_nce": {"temperature": 0.25}}}


def test_what_does_not_fit_is_refused_and_nothing_written(own, pretrained_checkpoint):
    with pytest.raises(UserError, match=r"of the configuration 2d, not of 3d_fullres\. Use -c 2d"):
        write_plans_of_weights(OWN, "3d_fullres", pretrained_checkpoint, plans_name=NAME)
    with pytest.raises(UserError, match="no checkpoint"):
        write_plans_of_weights(OWN, "2d", own / "none.pth", plans_name=NAME)
    assert not (own / f"{NAME}.json").exists()
    with pytest.raises(UserError, match="would replace the plans"):
        write_plans_of_weights(OWN, "2d", pretrained_checkpoint, plans_name="nnUNetPlans")
    write_plans_of_weights(OWN, "2d", pretrained_checkpoint, plans_name=NAME)
    with pytest.raises(UserError, match="--overwrite"):
        write_plans_of_weights(OWN, "2d", pretrained_checkpoint, plans_name=NAME)
