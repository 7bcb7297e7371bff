import ast
import inspect

import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunet_pix2rep.installation import pretraining_trainers, trainers_folder
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer

FILES = sorted(trainers_folder().glob("nnUNet*.py"))
NAMES = [file.stem for file in FILES]


@pytest.fixture
def find(monkeypatch):
    """nnU-Net's own search, as the command line uses it."""
    monkeypatch.setenv("nnUNet_extTrainer", str(trainers_folder()))
    return recursive_find_trainer_class_by_name


def test_there_are_trainers():
    assert {"nnUNetTrainerPix2Rep", "nnUNetTrainerPix2RepFinetune", *pretraining_trainers()} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_nnunet_finds_the_class_of_each_file(find, name):
    found = find(name)
    assert found.__name__ == name
    assert issubclass(found, nnUNetTrainer)


@pytest.mark.parametrize("name", NAMES)
def test_the_signature_is_the_one_that_nnunet_calls(find, name):
    ours, stock = (inspect.signature(trainer.__init__) for trainer in (find(name), nnUNetTrainer))
    assert list(ours.parameters) == list(stock.parameters)
    assert ours.parameters["device"].default == stock.parameters["device"].default


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_files_import_installed_packages_only(file):
    """nnU-Net's resolver imports these files top-level and drops them from sys.modules afterwards."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    modules = {
        name.split(".")[0]
        for node in imports
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert modules <= {"nnunet_pix2rep", "nnunetv2", "torch"}
    assert not any(getattr(node, "level", 0) for node in imports)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("Scratch")])
def test_scratch_twins_differ_in_the_need_of_weights_alone(find, name):
    scratch, twin = find(name), find(name.removesuffix("Scratch"))
    assert (scratch.needs_pretrained_weights, twin.needs_pretrained_weights) == (False, True)
    assert scratch.mro()[1:] == twin.mro()[1:]  # all else is what they share
    for name in ("initialize", "configure_optimizers", "train_step", "build_network_architecture"):
        assert getattr(scratch, name) is getattr(twin, name)


@pytest.mark.parametrize("name", ["nnUNetTrainerPix2Rep", "nnUNetTrainerPix2RepV2"])
def test_both_stages_pretrain_with_a_trainer_that_users_can_name(find, name):
    trainer = find(name)
    assert trainer.pretraining_class.__name__ == f"{name}Pretrain"
    assert issubclass(trainer, Pix2RepFinetuneTrainer)
