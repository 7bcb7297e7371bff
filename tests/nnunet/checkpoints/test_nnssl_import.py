from copy import deepcopy

import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from tiny_training import DATASET, PLANS, RESIDUAL_PLANS

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.checkpoints.export import export_checkpoint
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file, save_checkpoint_file
from nnunet_pix2rep.nnunet.checkpoints.nnssl_import import import_encoder
from nnunet_pix2rep.nnunet.networks.planned_network import PlannedNetwork

ENCODER = ("encoder.stages.", "encoder.stem.")


@pytest.fixture
def nnssl_file(finished_pretraining_3d, tmp_path):
    """Plans and an nnssl checkpoint of their network."""
    plans, checkpoint = finished_pretraining_3d
    export_checkpoint(checkpoint, "nnssl", tmp_path / "nnssl.pth")
    return plans, tmp_path / "nnssl.pth"


def change(file, function):
    """Writes a changed copy of a checkpoint."""
    content = load_checkpoint_file(file)
    function(content)
    save_checkpoint_file(content, file.with_name("changed.pth"))
    return file.with_name("changed.pth")


def run_import(file, plans, overwrite=False):
    target = file.with_name("start.pth")
    return import_encoder(file, DATASET, "3d_fullres", plans, target, overwrite), target


def test_an_exported_encoder_comes_back_whole(tiny, finished_pretraining_3d, nnssl_file):
    plans, file = nnssl_file
    report, target = run_import(file, plans)
    trained = load_checkpoint_file(finished_pretraining_3d[1])["network_weights"]
    start = load_checkpoint_file(target)["network_weights"]
    encoder = {key for key in trained if key.startswith(ENCODER)}
    assert set(report.loaded) == encoder
    assert report.skipped == report.missing == ()
    assert report.mismatched == {}
    assert all(torch.equal(start[key], trained[key]) for key in encoder)
    assert all(torch.equal(start[f"decoder.{key}"], trained[key]) for key in encoder), "the same weights' other name"
    assert not torch.equal(start["decoder.transpconvs.0.weight"], trained["decoder.transpconvs.0.weight"])


def test_nnunet_can_start_from_the_file(tiny, nnssl_file):
    plans, file = nnssl_file
    _, target = run_import(file, plans)
    planned = PlannedNetwork(read_json(tiny / f"{plans}.json"), "3d_fullres", read_json(tiny / "dataset.json"))
    load_pretrained_weights(planned.build(), target)


def test_the_random_rest_follows_from_the_seed_of_the_plans(own_tiny, nnssl_file):
    plans, file = nnssl_file

    def decoder():
        return load_checkpoint_file(run_import(file, plans, overwrite=True)[1])["network_weights"]

    first, second = decoder(), decoder()
    assert all(torch.equal(first[key], second[key]) for key in first)
    content = read_json(own_tiny / f"{plans}.json")
    content["configurations"]["3d_fullres"]["pix2rep"]["pretraining"]["seed"] = 1
    write_json(content, own_tiny / f"{plans}.json")
    assert not torch.equal(decoder()["decoder.transpconvs.0.weight"], first["decoder.transpconvs.0.weight"])


def test_the_record_names_the_source_and_whom_it_has_seen(tiny, nnssl_file):
    plans, file = nnssl_file
    _, target = run_import(file, plans)
    record = load_checkpoint_file(target)["pix2rep"]
    assert record["stage"] == "import"
    origin = record["started_from"]
    assert origin["file"] == str(file)
    assert origin["dataset_name"] == DATASET
    assert origin["cases"] == load_checkpoint_file(file)["pix2rep"]["cases"]


def test_keys_of_other_parts_and_of_wrappers(tiny, nnssl_file):
    """nnssl may name its encoder otherwise and keep other parts; DDP and torch.compile add prefixes."""
    plans, file = nnssl_file

    def rename(content):
        weights = {f"module.net.{key}": value for key, value in content["network_weights"].items()}
        content["network_weights"] = weights | {"net.decoder.weight": torch.zeros(3)}
        for key in ("key_to_encoder", "key_to_stem"):
            content["nnssl_adaptation_plan"][key] = f"net.{content['nnssl_adaptation_plan'][key]}"

    report, _ = run_import(change(file, rename), plans)
    assert len(report.loaded) == len(load_checkpoint_file(file)["network_weights"])
    assert report.skipped == ("net.decoder.weight",)


def test_another_shape_is_listed_with_both_and_stays_random(tiny, nnssl_file):
    plans, file = nnssl_file
    key = next(
        key
        for key in load_checkpoint_file(file)["network_weights"]
        if key.endswith("stages.1.0.convs.0.conv.weight") or "stages.1.blocks.0.conv1.conv.weight" in key
    )

    def widen(content):
        content["network_weights"][key] = torch.zeros(99, 4, 3, 3, 3)

    report, _ = run_import(change(file, widen), plans)
    assert report.mismatched == {key: ((99, 4, 3, 3, 3), (8, 4, 3, 3, 3))}
    assert key not in report.loaded


def test_an_encoder_weight_that_the_checkpoint_lacks_is_listed(tiny, nnssl_file):
    plans, file = nnssl_file
    key = next(iter(load_checkpoint_file(file)["network_weights"]))
    report, _ = run_import(change(file, lambda content: content["network_weights"].pop(key)), plans)
    assert report.missing == (key,)


def test_nothing_that_fits_is_an_error_and_writes_nothing(tiny, nnssl_file):
    plans, file = nnssl_file

    def widen(content):
        weights = content["network_weights"]
        content["network_weights"] = {key: torch.zeros(*value.shape, 2) for key, value in weights.items()}

    with pytest.raises(UserError, match="have another shape: encoder"):
        run_import(change(file, widen), plans)
    other_keys = deepcopy(load_checkpoint_file(file)["nnssl_adaptation_plan"]) | {
        "key_to_encoder": "eva.blocks",
        "key_to_stem": "eva.stem",
    }
    with pytest.raises(UserError, match=r"no weight below eva\.blocks"):
        run_import(change(file, lambda content: content.update(nnssl_adaptation_plan=other_keys)), plans)
    assert not file.with_name("start.pth").exists()


def test_another_kind_of_encoder_gives_what_little_has_the_same_name_and_shape(tiny, nnssl_file):
    """Of a plain and a residual encoder no name is the same."""
    plans, file = nnssl_file
    other = RESIDUAL_PLANS if plans == PLANS else PLANS
    with pytest.raises(UserError, match="Nothing of"):
        run_import(file, other)


def test_a_checkpoint_that_is_not_nnssls_is_refused(tiny, finished_pretraining_3d, tmp_path):
    plans, checkpoint = finished_pretraining_3d
    with pytest.raises(UserError, match=r"nnssl_adaptation_plan.*-pretrained_weights"):
        import_encoder(checkpoint, DATASET, "3d_fullres", plans, tmp_path / "start.pth")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((DATASET, "3d_lowres", PLANS), "no configuration '3d_lowres'"),
        ((DATASET, "3d_fullres", "NoPlans"), "NoPlans.json does not exist"),
        (("Dataset999_None", "3d_fullres", PLANS), "does not exist"),
    ],
)
def test_a_missing_dataset_plan_or_configuration_is_named(tiny, nnssl_file, arguments, message):
    _, file = nnssl_file
    with pytest.raises(UserError, match=message):
        import_encoder(file, *arguments, file.with_name("start.pth"))
