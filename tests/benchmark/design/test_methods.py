import pytest
import torch

from nnunet_pix2rep.benchmark.design.method_names import find_method, find_methods
from nnunet_pix2rep.benchmark.design.methods import DEFAULT_METHODS, METHODS
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.installation import pretraining_trainers, trainers_folder


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_every_trainer_of_the_registry_exists(method):
    for trainer in filter(None, (method.training, method.pretraining)):
        assert (trainers_folder() / f"{trainer}.py").is_file()
    assert method.pretraining is None or method.pretraining in pretraining_trainers()


def test_every_pretraining_is_a_method_with_fine_tuning_and_with_a_linear_probe():
    for trainer in pretraining_trainers():
        trainings = {method.training for method in METHODS.values() if method.pretraining == trainer}
        assert trainings >= {"nnUNetTrainerPix2RepFinetune", "nnUNetTrainerPix2RepLinearProbe"}


def test_the_names_of_methods_are_those_of_before():
    """Folders and tables of benchmarks hold them."""
    earlier = {
        "pix2rep": "nnUNetTrainerPix2RepPretrain",
        "pix2rep_linear": "nnUNetTrainerPix2RepPretrain",
        "pix2rep_v2": "nnUNetTrainerPix2RepV2Pretrain",
        "pix2rep_v2_linear": "nnUNetTrainerPix2RepV2Pretrain",
        "masked_autoencoder": "nnUNetTrainerMaskedAutoencoderPretrain",
    }
    assert {name: METHODS[name].pretraining for name in earlier} == earlier
    assert len({method.name for method in METHODS.values()}) == len(METHODS)


def test_methods_without_pretraining_use_trainers_that_need_none():
    for method in METHODS.values():
        from_scratch = "Scratch" in method.training or method.training == "nnUNetTrainerConfiguredLength"
        assert from_scratch == (method.pretraining is None), method


def test_the_comparisons_of_interest_differ_in_one_thing():
    pix2rep, peer = METHODS["pix2rep"], METHODS["masked_autoencoder"]
    assert pix2rep.training == peer.training
    assert METHODS["scratch_same_schedule"].training == f"{pix2rep.training}Scratch"
    assert METHODS["scratch_long"].training == METHODS["scratch"].training
    assert METHODS["mean_teacher_scratch"].training == f"{METHODS['mean_teacher'].training}Scratch"


def test_the_defaults_are_known():
    assert [method.name for method in find_methods(DEFAULT_METHODS)] == list(DEFAULT_METHODS)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["pix2rap"], r"no method 'pix2rap'. Known are scratch, .*weights:PATH"),
        ([], "at least one"),
        (["scratch", "pix2rep", "scratch"], "scratch twice"),
        (["weights:/nowhere.pth"], "no checkpoint /nowhere.pth"),
    ],
)
def test_bad_names_are_refused(names, message):
    with pytest.raises(UserError, match=message):
        find_methods(names)


def test_weights_are_a_method_with_a_folder_of_their_own(tmp_path):
    folders = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "checkpoint final.pth"
        torch.save({"network_weights": {}}, path)
        method = find_method(f"weights:{path}")
        assert method.weights == path
        assert "/" not in method.folder_name
        assert " " not in method.folder_name
        folders.add(method.folder_name)
    assert len(folders) == 2
