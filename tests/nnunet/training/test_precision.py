import pytest
import torch
from tiny_training import make_trainer

from nnunet_pix2rep.nnunet.training import precision
from nnunet_pix2rep.nnunet.training.precision import CPU_BFLOAT16_VARIABLE
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepPretrain


@pytest.mark.parametrize(("requested", "dtype"), [("1", torch.bfloat16), ("0", torch.float32)])
def test_a_pretraining_on_a_cpu_uses_bfloat16_where_asked_for(tiny, monkeypatch, requested, dtype):
    monkeypatch.setenv(CPU_BFLOAT16_VARIABLE, requested)
    trainer = make_trainer(nnUNetTrainerPix2RepPretrain, tiny)
    trainer.on_train_start()
    embedded = []
    trainer.network.register_forward_hook(lambda _module, _inputs, output: embedded.append(output.dtype))
    loss = trainer.train_step(next(trainer.dataloader_train))["loss"]
    assert embedded == [dtype]
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert {parameter.dtype for parameter in trainer.network.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("requested", "supported", "warned"), [("1", False, True), ("1", True, False), ("0", False, False)]
)
def test_bfloat16_without_instructions_for_it_is_warned_of(tiny, monkeypatch, capsys, requested, supported, warned):
    monkeypatch.setenv(CPU_BFLOAT16_VARIABLE, requested)
    monkeypatch.setattr(precision, "has_cpu_bfloat16", lambda: supported)
    make_trainer(nnUNetTrainerPix2RepPretrain, tiny)
    assert ("no instructions for bfloat16" in capsys.readouterr().out) == warned


def test_support_of_bfloat16_is_told_by_torch():
    assert isinstance(precision.has_cpu_bfloat16(), bool)
