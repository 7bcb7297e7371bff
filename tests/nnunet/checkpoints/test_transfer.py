from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_training import make_trainer, training_log

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.checkpoints.leak_guard import check_leak
from nnunet_pix2rep.nnunet.checkpoints.transfer import find_pretraining, transfer_weights
from nnunet_pix2rep.nnunet.loading.fold_cases import pretraining_cases
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer

SOURCE = Path("pretrained.pth")
CASES = [f"patient{patient:03d}_frame{frame:02d}" for patient in range(6) for frame in (1, 2)]


def make_network(features=4):
    """A network with names like those of a planned U-Net."""
    return torch.nn.ModuleDict(
        {
            "encoder": torch.nn.Conv2d(1, features, 3),
            "decoder": torch.nn.ModuleDict(
                {"stage": torch.nn.Conv2d(features, features, 3), "seg_layers": torch.nn.Conv2d(features, 2, 1)}
            ),
        }
    )


# --------------------------------------------------------------------------------------------------------- where it is


@pytest.mark.parametrize("trainer", ["nnUNetTrainerPix2RepPretrain", "nnUNetTrainerOfSomeoneElsePretrain"])
def test_a_pretraining_is_found_by_the_ending_of_its_trainers_name(tmp_path, trainer):
    for folder in (
        f"{trainer}__Plans__2d/fold_0",
        f"{trainer}__Plans__2d/fold_1",
        f"{trainer}__OtherPlans__2d/fold_0",
        f"{trainer}__Plans__3d_fullres/fold_0",
        "nnUNetTrainerPix2RepFinetune__Plans__2d/fold_0",
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "checkpoint_final.pth").touch()
    found = find_pretraining(tmp_path, "Plans", "2d", 0)
    assert found == tmp_path / f"{trainer}__Plans__2d" / "fold_0" / "checkpoint_final.pth"


def test_without_a_pretraining_the_message_says_where_it_was_looked_for_and_which_trainers_make_one(tmp_path):
    with pytest.raises(UserError, match=r"Pretrain__Plans__2d.fold_0.checkpoint_final.*nnUNetTrainerPix2RepPretrain"):
        find_pretraining(tmp_path, "Plans", "2d", 0)


# ------------------------------------------------------------------------------------------------------------ transfer


def test_all_but_the_segmentation_layers_is_loaded_and_reported():
    source, network, lines = make_network(), make_network(), []
    kept = network["decoder"]["seg_layers"].weight.clone()
    checkpoint = {"network_weights": source.state_dict() | {"unknown.weight": torch.zeros(1)}}
    loaded = transfer_weights(checkpoint, network, SOURCE, lines.append).loaded
    assert set(loaded) == {"encoder.weight", "encoder.bias", "decoder.stage.weight", "decoder.stage.bias"}
    assert all(torch.equal(network.state_dict()[key], source.state_dict()[key]) for key in loaded)
    assert torch.equal(network["decoder"]["seg_layers"].weight, kept)
    assert "4 tensors match, 3 skipped, 0 of another shape, 0 missing" in lines[0]
    assert {"  skipped: unknown.weight", "  skipped: decoder.seg_layers.weight"} <= set(lines)


def test_another_shape_is_an_error_that_names_the_first_key_and_loads_nothing():
    network, lines = make_network(4), []
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(UserError, match=r"encoder.weight has shape \(8, 1, 3, 3\) there and shape \(4, 1, 3, 3\)"):
        transfer_weights({"network_weights": make_network(8).state_dict()}, network, SOURCE, lines.append)
    assert "  mismatched: encoder.weight has shape (8, 1, 3, 3) in the checkpoint, (4, 1, 3, 3) in the network" in lines
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize("weights", [{}, {"other.weight": torch.zeros(2)}, {"module.encoder.weight": torch.zeros(2)}])
def test_a_checkpoint_without_a_known_key_is_an_error(weights):
    with pytest.raises(UserError, match=r"encoder.weight has no such tensor there and shape \(4, 1, 3, 3\).*0 tensors"):
        transfer_weights({"network_weights": weights}, make_network(), SOURCE, lambda _: None)


def test_a_missing_key_is_an_error():
    weights = make_network().state_dict()
    del weights["decoder.stage.bias"]
    with pytest.raises(UserError, match=r"decoder.stage.bias has no such tensor there and shape \(4,\)"):
        transfer_weights({"network_weights": weights}, make_network(), SOURCE, lambda _: None)


# ---------------------------------------------------------------------------------------------------------- leak guard


@st.composite
def splits(draw):
    """Cases seen in pretraining, and validation cases of the fold."""
    return tuple(draw(st.lists(st.sampled_from(CASES), unique=True)) for _ in range(2))


def patients(cases):
    return {case.split("_")[0] for case in cases}


def guard(folder, seen, validation, dataset="Dataset027_ACDC"):
    checkpoint = {RECORD_KEY: {"dataset_name": "Dataset027_ACDC", "cases": seen}}
    return check_leak(checkpoint, SOURCE, dataset, folder, validation)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("Dataset027_ACDC")


@given(splits())
def test_the_guard_raises_exactly_when_a_validation_patient_was_seen(folder, cases):
    seen, validation = cases
    leaked = sorted(case for case in validation if patients([case]) & patients(seen))
    if leaked:
        with pytest.raises(UserError, match=f": {', '.join(leaked)}[.]"):
            guard(folder, seen, validation)
    else:
        assert guard(folder, seen, validation) == []


@given(splits())
def test_allowed_leaks_are_returned(folder, cases):
    seen, validation = cases
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("nnUNet_pix2rep_allow_transductive", "1")
        assert guard(folder, seen, validation) == sorted(c for c in validation if patients([c]) & patients(seen))


@given(st.lists(st.sampled_from(CASES), unique=True))
def test_what_a_fold_may_be_pretrained_on_passes_its_own_guard(folder, validation):
    seen = pretraining_cases(CASES, validation, folder)
    assert guard(folder, seen, validation) == []
    assert patients(seen) | patients(validation) == patients(CASES)


@settings(max_examples=20)
@given(splits())
def test_other_datasets_and_other_programs_pass(folder, cases):
    seen, validation = cases
    assert guard(folder, seen, validation, dataset="Dataset028_Other") == []
    assert check_leak({}, SOURCE, "Dataset027_ACDC", folder, validation) == []


@pytest.mark.parametrize("seen_before", [False, True])
def test_pretraining_again_is_only_advised_where_its_own_images_are_to_blame(folder, seen_before):
    """What it started from may have been allowed to see them."""
    own, other = ([CASES[2]], [CASES[0]]) if seen_before else ([CASES[0]], [])
    record = {"dataset_name": "Dataset027_ACDC", "cases": own}
    record |= {"started_from": {"dataset_name": "Dataset027_ACDC", "cases": other}}
    with pytest.raises(UserError) as refused:
        check_leak({RECORD_KEY: record}, SOURCE, "Dataset027_ACDC", folder, [CASES[1]], again="train it")
    assert ("To pretrain again: train it" in str(refused.value)) == (not seen_before)
    assert ("Pretrain in this fold" in str(refused.value)) == seen_before


# -------------------------------------------------------------------------------------------------- -pretrained_weights


def test_the_fine_tuning_trainer_reports_and_records_the_file(tiny, pretrained_checkpoint):
    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny)
    maybe_load_checkpoint(trainer, False, False, str(pretrained_checkpoint))
    assert trainer.pretrained_record["file"] == str(pretrained_checkpoint)
    assert f"Pretrained weights from {pretrained_checkpoint}" in training_log(trainer)


def test_the_scratch_twin_refuses_the_option(tiny, pretrained_checkpoint):
    class Scratch(Pix2RepFinetuneTrainer):
        needs_pretrained_weights = False

    with pytest.raises(UserError, match="Scratch trains from random weights"):
        maybe_load_checkpoint(make_trainer(Scratch, tiny), False, False, str(pretrained_checkpoint))


def test_a_checkpoint_of_another_plan_is_an_error(tiny, pretrained_checkpoint):
    from tiny_training import RESIDUAL_PLANS

    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny, plans_name=RESIDUAL_PLANS)
    with pytest.raises(UserError, match=r"encoder.stem.\S+ has no such tensor there and shape"):
        maybe_load_checkpoint(trainer, False, False, str(pretrained_checkpoint))


@pytest.mark.parametrize("configuration", ["2d"])
def test_stock_nnunet_takes_every_tensor_but_the_segmentation_layers(tiny, pretrained_checkpoint, configuration):
    trainer = make_trainer(nnUNetTrainer, tiny, configuration=configuration)
    maybe_load_checkpoint(trainer, False, False, str(pretrained_checkpoint))
    handed_over = load_checkpoint_file(pretrained_checkpoint)["network_weights"]
    own = trainer.network.state_dict()
    assert own.keys() == handed_over.keys()
    equal = {key for key in own if torch.equal(own[key], handed_over[key])}
    assert {key for key in own if ".seg_layers." not in key} <= equal
    assert any(".seg_layers." in key for key in own.keys() - equal)
