import pytest
import torch

from nnunet_pix2rep.cli.feature_options import FEATURES as OFFERED
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.geometry.grids import identity_grid
from nnunet_pix2rep.nnunet.checkpoints.export import export_checkpoint
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file, save_checkpoint_file
from nnunet_pix2rep.nnunet.features.model import FEATURES


def features_of(model, size=(24, 24)):
    image = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(0))
    return model.network(image, identity_grid(size).flatten(0, -2))


def test_the_command_offers_all_features():
    assert OFFERED == FEATURES


@pytest.mark.parametrize(("features", "channels"), [("projected", 8), ("hypercolumn", 12), ("last_stage", 4)])
def test_a_pretraining_has_all_kinds_of_features(pretraining, load, features, channels):
    assert features_of(load(pretraining, features)).shape == (24 * 24, channels)


def test_projected_features_are_the_default_where_there_is_a_head(pretraining, finetuning, load):
    assert load(pretraining).features == "projected"
    assert load(finetuning).features == "hypercolumn"


def test_the_head_is_that_of_the_checkpoint_in_eval_mode(pretraining, load, tmp_path):
    """Features of a pixel must not depend on which other pixels are asked for."""
    checkpoint = load_checkpoint_file(pretraining)
    checkpoint["pix2rep"]["projection_head"]["1.running_var"].fill_(4.0)
    save_checkpoint_file(checkpoint, tmp_path / "changed.pth")
    plain, changed = load(pretraining), load(tmp_path / "changed.pth")
    image, points = torch.randn(1, 1, 24, 24), torch.rand(50, 2) * 2 - 1
    torch.testing.assert_close(plain.network(image, points)[:5], plain.network(image, points[:5]))
    assert not torch.allclose(plain.network(image, points), changed.network(image, points))
    assert not any(module.training for module in plain.network.modules())


def test_every_stage_of_the_hypercolumn_weighs_the_same(pretraining, load):
    coarse, fine = features_of(load(pretraining, "hypercolumn")).split((8, 4), dim=1)
    for stage in (coarse, fine):
        torch.testing.assert_close(stage.norm(dim=1), torch.ones(len(stage)))


def test_a_checkpoint_without_projection_head_has_no_projected_features(finetuning, load):
    with pytest.raises(UserError, match=r"no projection head.*--features hypercolumn"):
        load(finetuning, "projected")


def test_an_exported_file_has_the_decoders_features(pretraining, load, tmp_path):
    export_checkpoint(pretraining, "nnunet", tmp_path / "weights.pth")
    exported = load(tmp_path / "weights.pth")
    assert exported.features == "hypercolumn"
    assert torch.equal(features_of(exported), features_of(load(pretraining, "hypercolumn")))


def test_a_checkpoint_of_unknown_plans_is_refused(finetuning, load, tmp_path):
    checkpoint = load_checkpoint_file(finetuning)
    del checkpoint["init_args"]
    save_checkpoint_file(checkpoint, tmp_path / "bare.pth")
    with pytest.raises(UserError, match="init_args"):
        load(tmp_path / "bare.pth")


def test_weights_of_another_network_are_refused(finetuning, load, tmp_path):
    checkpoint = load_checkpoint_file(finetuning)
    kwargs = checkpoint["init_args"]["plans"]["configurations"]["2d"]["architecture"]["arch_kwargs"]
    kwargs["features_per_stage"] = [8, 8, 8]
    save_checkpoint_file(checkpoint, tmp_path / "other.pth")
    with pytest.raises(UserError, match="another network"):
        load(tmp_path / "other.pth")


def test_a_cascade_is_refused(finetuning, load, tmp_path):
    checkpoint = load_checkpoint_file(finetuning)
    checkpoint["init_args"]["plans"]["configurations"]["2d"]["previous_stage"] = "3d_lowres"
    save_checkpoint_file(checkpoint, tmp_path / "cascade.pth")
    with pytest.raises(UserError, match=r"cascade.*3d_lowres"):
        load(tmp_path / "cascade.pth")
