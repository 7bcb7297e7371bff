import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from small_networks import small_network
from torch import nn

from nnunet_pix2rep.config import PretrainingConfig
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints import files
from nnunet_pix2rep.nnunet.checkpoints.files import (
    PREVIOUS,
    RECORDED_PACKAGES,
    SEGMENTATION_KEY_PART,
    compare_weights,
    keep_previous,
    load_checkpoint_file,
    package_versions,
    save_checkpoint_file,
    to_plain,
)
from nnunet_pix2rep.nnunet.networks.decoder_features import build_pixel_embedder

# All that a trainer may come to put into a checkpoint.
MIXED = {
    "network_weights": OrderedDict(weight=nn.Parameter(torch.arange(3.0))),
    "numpy": {"float": np.float64(0.5), "int": np.int32(3), "bool": np.bool_(True), "array": np.arange(3)},
    "nested": [(1, np.float32(2.0)), {"path": Path("a") / "b", "device": torch.device("cpu")}],
    "set": {"b", "a"},
    "none": None,
}
PLAIN = {
    "numpy": {"float": 0.5, "int": 3, "bool": True, "array": [0, 1, 2]},
    "nested": [(1, 2.0), {"path": str(Path("a") / "b"), "device": "cpu"}],
    "set": ["a", "b"],
    "none": None,
}


def test_whatever_is_saved_loads_with_weights_only(tmp_path):
    save_checkpoint_file(MIXED, tmp_path / "checkpoint.pth")
    loaded = torch.load(tmp_path / "checkpoint.pth", weights_only=True)
    weight = loaded.pop("network_weights")["weight"]
    assert loaded == PLAIN
    assert torch.equal(weight, torch.arange(3.0))
    assert not weight.requires_grad


def test_plain_values_have_plain_types():
    plain = to_plain(MIXED)
    assert [type(value) for value in plain["numpy"].values()] == [float, int, bool, list]
    assert type(plain["nested"][0][1]) is float


def test_a_failure_while_saving_leaves_the_old_checkpoint_and_no_other_file(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pth"
    save_checkpoint_file({"network_weights": {}, "epoch": 1}, path)

    def fail_half_way(_content, file):
        Path(file).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", fail_half_way)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint_file({"network_weights": {}, "epoch": 2}, path)
    assert load_checkpoint_file(path)["epoch"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_the_checkpoint_before_is_kept_when_asked_for(tmp_path):
    path = tmp_path / "checkpoint_latest.pth"
    for epoch in range(3):
        save_checkpoint_file({"network_weights": {}, "epoch": epoch}, path, before_replacing=keep_previous)
    assert load_checkpoint_file(path)["epoch"] == 2
    assert load_checkpoint_file(tmp_path / PREVIOUS)["epoch"] == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_a_checkpoint_as_nnunet_writes_it_is_read(tmp_path):
    """nnU-Net logs numpy numbers and saves them as they are."""
    content = {
        "network_weights": small_network().state_dict(),
        "logging": {"mean_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(-0.5)], "lrs": [0.01]},
        "init_args": {"device": torch.device("cpu"), "fold": 0},
        "inference_allowed_mirroring_axes": (0, 1),
    }
    torch.save(content, tmp_path / "checkpoint_final.pth")
    loaded = load_checkpoint_file(tmp_path / "checkpoint_final.pth")
    assert loaded["logging"] == content["logging"]
    assert loaded["init_args"] == content["init_args"]


def test_a_checkpoint_written_under_another_numpy_is_read(tmp_path):
    """Before numpy 2, the function that makes a scalar lay in numpy.core."""
    path = tmp_path / "checkpoint.pth"
    torch.save({"network_weights": {}, "value": np.float64(0.5)}, path)
    content = path.read_bytes()
    before, since = b"numpy.core.multiarray", b"numpy._core.multiarray"
    rewrite_pickle(path, *((since, before) if since in content else (before, since)))
    assert load_checkpoint_file(path)["value"] == 0.5


def rewrite_pickle(path, old, new):
    """Replaces bytes in the pickle inside of a zip file of torch."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(old, new) if name.endswith("data.pkl") else content)


def test_the_loaded_weights_lie_on_the_device_asked_for(tmp_path):
    save_checkpoint_file({"network_weights": {"a": torch.ones(2)}}, tmp_path / "checkpoint.pth")
    assert load_checkpoint_file(tmp_path / "checkpoint.pth", "meta")["network_weights"]["a"].is_meta


def test_equal_networks_match():
    comparison = compare_weights(small_network().state_dict(), small_network())
    assert set(comparison.matching) == set(small_network().state_dict())
    assert (comparison.missing, comparison.unused, comparison.mismatched) == ((), (), {})
    comparison.require_match("checkpoint.pth")


def test_the_first_key_of_another_shape_is_named_with_both_shapes():
    comparison = compare_weights(small_network(channels=[5, 6, 8]).state_dict(), small_network())
    with pytest.raises(UserError) as error:
        comparison.require_match("checkpoint.pth")
    key = next(iter(comparison.mismatched))
    assert key == next(iter(small_network().state_dict()))
    for named in ("checkpoint.pth", f"{key} ", "(5, 1, 3, 3)", "(4, 1, 3, 3)"):
        assert named in str(error.value)


@pytest.mark.parametrize(("where", "named"), [("checkpoint", "lacks"), ("network", "lacks")])
def test_keys_that_one_side_lacks_are_named(where, named):
    weights, network = small_network().state_dict(), small_network()
    if where == "checkpoint":
        key = next(iter(weights))
        del weights[key]
    else:
        key = "other.weight"
        weights[key] = torch.ones(1)
    with pytest.raises(UserError, match=rf"checkpoint\.pth.*{key}.*{where} {named}"):
        compare_weights(weights, network).require_match("checkpoint.pth")


@pytest.mark.parametrize("architecture", ["plain", "residual_encoder", "residual"])
def test_nnunet_takes_over_every_weight_but_those_of_the_segmentation_layers(tmp_path, architecture):
    planned = small_network(architecture)
    embedder = build_pixel_embedder(planned, PretrainingConfig())
    with torch.no_grad():
        for parameter in embedder.parameters():
            parameter.add_(torch.randn_like(parameter))
    path = tmp_path / "checkpoint_final.pth"
    save_checkpoint_file({"network_weights": planned.state_dict()}, path)

    target = small_network(architecture, num_classes=7)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    load_pretrained_weights(target, str(path))
    after = target.state_dict()
    for key in after:
        kept = before if SEGMENTATION_KEY_PART in key else planned.state_dict()
        assert torch.equal(after[key], kept[key]), key
    assert any(SEGMENTATION_KEY_PART in key for key in after)


def test_versions_are_recorded_of_every_package():
    versions = package_versions()
    assert set(versions) == set(RECORDED_PACKAGES)
    assert versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert files.FORMAT_VERSION == 1


def test_a_tensor_with_two_names_is_copied_once():
    layer = torch.nn.Linear(3, 3)
    plain = to_plain({"a": layer.state_dict(), "b": {"weight": layer.weight}})
    assert plain["a"]["weight"] is plain["b"]["weight"]
    assert plain["a"]["bias"] is not plain["a"]["weight"]
