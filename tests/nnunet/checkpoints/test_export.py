import pytest
import torch
from nnssl_contract import check_contract, read_as_nnunet
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from tiny_training import assert_equal_weights, differing, make_trainer, weights_of

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.checkpoints import nnssl_plan
from nnunet_pix2rep.nnunet.checkpoints.export import export_checkpoint
from nnunet_pix2rep.nnunet.checkpoints.files import SEGMENTATION_KEY_PART, load_checkpoint_file, save_checkpoint_file
from nnunet_pix2rep.nnunet.checkpoints.nnssl_plan import installed_commands
from nnunet_pix2rep.nnunet.networks.planned_network import PlannedNetwork
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer


def planned_network_of(checkpoint):
    return PlannedNetwork.of_checkpoint(load_checkpoint_file(checkpoint), checkpoint).build(seed=1)


def handed_over(weights):
    return {key: value for key, value in weights.items() if SEGMENTATION_KEY_PART not in key}


# -------------------------------------------------------------------------------------------------------------- nnunet


def test_nnunets_own_loader_takes_the_whole_network_from_the_file(finished_pretraining_3d, tmp_path):
    _, checkpoint = finished_pretraining_3d
    export_checkpoint(checkpoint, "nnunet", tmp_path / "weights.pth")
    network = planned_network_of(checkpoint)
    before = weights_of(network)
    load_pretrained_weights(network, tmp_path / "weights.pth")
    trained = load_checkpoint_file(checkpoint)["network_weights"]
    assert_equal_weights(handed_over(network.state_dict()), handed_over(trained))
    assert not differing(before, network.state_dict()) & {key for key in before if SEGMENTATION_KEY_PART in key}


def test_the_file_holds_each_weight_once_and_nothing_of_the_training(finished_pretraining_3d, tmp_path):
    _, checkpoint = finished_pretraining_3d
    loaded = load_checkpoint_file(checkpoint)
    loaded["network_weights"] = {key: value.clone() for key, value in loaded["network_weights"].items()}
    save_checkpoint_file(loaded, tmp_path / "several_times.pth")
    export_checkpoint(tmp_path / "several_times.pth", "nnunet", tmp_path / "weights.pth")
    content = torch.load(tmp_path / "weights.pth", weights_only=True)
    assert content.keys() == {"network_weights", "trainer_name", "pix2rep", "init_args"}
    assert not {"projection_head", "random_state"} & content["pix2rep"].keys()
    weights = content["network_weights"]
    parameters = sum(
        parameter.numel()
        for name, parameter in planned_network_of(checkpoint).named_parameters()
        if SEGMENTATION_KEY_PART not in name
    )
    assert (
        sum(value.numel() for value in {value.data_ptr(): value for value in weights.values()}.values()) == parameters
    )
    assert (tmp_path / "weights.pth").stat().st_size < 0.5 * checkpoint.stat().st_size


def test_fine_tuning_starts_from_the_file_and_still_knows_who_was_seen(finished_pretraining_3d, tiny, tmp_path):
    plans, checkpoint = finished_pretraining_3d
    export_checkpoint(checkpoint, "nnunet", tmp_path / "weights.pth")
    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny, configuration="3d_fullres", plans_name=plans)
    trainer.initialize()
    trainer.load_pretrained(tmp_path / "weights.pth")
    assert trainer.cases_used == sorted(load_checkpoint_file(checkpoint)["pix2rep"]["cases"])
    other_fold = make_trainer(Pix2RepFinetuneTrainer, tiny, 2, configuration="3d_fullres", plans_name=plans)
    other_fold.initialize()
    with pytest.raises(UserError, match="have seen images"):
        other_fold.load_pretrained(tmp_path / "weights.pth")


# --------------------------------------------------------------------------------------------------------------- nnssl


def test_the_nnssl_file_meets_the_contract_field_by_field(finished_pretraining_3d, tiny_dataset, tmp_path):
    plans, checkpoint = finished_pretraining_3d
    export_checkpoint(checkpoint, "nnssl", tmp_path / "nnssl.pth")
    check_contract(tmp_path / "nnssl.pth", read_json(tiny_dataset / f"{plans}.json")["configurations"]["3d_fullres"])


def test_a_reader_as_nnunets_loads_encoder_and_stem_strictly(finished_pretraining_3d, tmp_path):
    _, checkpoint = finished_pretraining_3d
    export_checkpoint(checkpoint, "nnssl", tmp_path / "nnssl.pth")
    trained = load_checkpoint_file(checkpoint)["network_weights"]
    read = read_as_nnunet(tmp_path / "nnssl.pth").state_dict()
    encoder = [key for key in read if key.startswith(("encoder.stages.", "encoder.stem."))]
    assert encoder
    assert all(torch.equal(read[key], trained[key]) for key in encoder)
    assert not torch.equal(
        read["decoder.stages.0.convs.0.conv.weight"], trained["decoder.stages.0.convs.0.conv.weight"]
    )


def test_two_dimensions_are_refused_for_nnssl(pretrained_checkpoint, tmp_path):
    with pytest.raises(UserError, match="3D networks, but 2d is 2D"):
        export_checkpoint(pretrained_checkpoint, "nnssl", tmp_path / "nnssl.pth")
    assert not (tmp_path / "nnssl.pth").exists()


def test_commands_are_found_by_their_entry_points_or_in_the_path(monkeypatch):
    class Script:
        name = "nnUNetv2_plan_like_dynamic"

    monkeypatch.setattr(nnssl_plan, "entry_points", lambda group: [Script] if group == "console_scripts" else [])
    monkeypatch.setattr(nnssl_plan.shutil, "which", lambda name: "/bin/x" if name.endswith("_pretrained") else None)
    assert installed_commands() == ["nnUNetv2_plan_like_dynamic", "nnUNetv2_train_pretrained"]


# ----------------------------------------------------------------------------------------------------------- bad input


def test_a_file_is_only_overwritten_when_asked_for(pretrained_checkpoint, tmp_path):
    target = tmp_path / "weights.pth"
    target.write_text("mine")
    with pytest.raises(UserError, match="--overwrite"):
        export_checkpoint(pretrained_checkpoint, "nnunet", target)
    assert target.read_text() == "mine"
    export_checkpoint(pretrained_checkpoint, "nnunet", target, overwrite=True)
    assert "network_weights" in load_checkpoint_file(target)
    with pytest.raises(UserError, match=r"no checkpoint .*missing\.pth"):
        export_checkpoint(tmp_path / "missing.pth", "nnunet", target, overwrite=True)
    with pytest.raises(UserError, match="the source itself"):
        export_checkpoint(target, "nnunet", target, overwrite=True)


def test_a_link_is_written_through(pretrained_checkpoint, tmp_path):
    file, link = tmp_path / "weights.pth", tmp_path / "link.pth"
    file.write_text("old")
    link.symlink_to(file)
    export_checkpoint(pretrained_checkpoint, "nnunet", link, overwrite=True)
    assert link.is_symlink()
    assert "network_weights" in load_checkpoint_file(file)


def test_a_checkpoint_without_plans_is_refused(pretrained_checkpoint, tmp_path):
    save_checkpoint_file({"network_weights": {}}, tmp_path / "bare.pth")
    with pytest.raises(UserError, match="init_args"):
        export_checkpoint(tmp_path / "bare.pth", "nnunet", tmp_path / "weights.pth")
    with pytest.raises(UserError, match="no format 'onnx'"):
        export_checkpoint(pretrained_checkpoint, "onnx", tmp_path / "weights.pth")
