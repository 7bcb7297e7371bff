import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_training import make_trainer

from nnunet_pix2rep.losses.pairs import PairLoss
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import Pix2RepPretrainTrainer
from nnunet_pix2rep.nnunet.training.pretraining.pretrain import PretrainTrainer


class WithoutAnything(PretrainTrainer):
    diagnostics = ()


@pytest.mark.parametrize(
    ("call", "missing"),
    [
        (lambda trainer: trainer.compute_loss({}), "what the loss of a batch is"),
        (lambda trainer: trainer.build_loading(()), "what its batches are"),
    ],
)
def test_a_trainer_that_lacks_a_part_says_which(tiny, call, missing):
    trainer = make_trainer(WithoutAnything, tiny)
    with pytest.raises(NotImplementedError, match=f"WithoutAnything must say {missing}"):
        call(trainer)


def test_a_loss_without_settings_is_named(tiny):
    class Forgetful(PairLoss):
        name = "forgetful"

    class Trainer(Pix2RepPretrainTrainer):
        loss_class = Forgetful

    with pytest.raises(NotImplementedError, match="Forgetful needs a part 'forgetful' in PretrainingConfig"):
        make_trainer(Trainer, tiny).initialize()


def test_the_trainers_stand_on_nnunets_in_few_steps():
    """nnU-Net's, what all share, what both stages say of memory, what pretrainings share, what paired pixels share."""
    names = [ancestor.__name__ for ancestor in Pix2RepPretrainTrainer.mro() if issubclass(ancestor, nnUNetTrainer)]
    assert names == [
        *("Pix2RepPretrainTrainer", "PretrainTrainer", "MemoryAdvisingTrainer"),
        *("Pix2RepTrainer", "nnUNetTrainer"),
    ]
