from pathlib import Path

import pytest
from tiny_training import PLANS, RESIDUAL_PLANS, make_trainer, prepare_for_training

from nnunet_pix2rep.nnunet.pretrain_trainer import nnUNetTrainerPix2RepV2Pretrain


@pytest.fixture(scope="session", params=[PLANS, RESIDUAL_PLANS])
def pretraining_3d(request, tiny_dataset, tmp_path_factory):
    """Plans and final checkpoint of a three-dimensional pretraining, of plain and of residual blocks."""
    with pytest.MonkeyPatch.context() as patch:
        prepare_for_training(patch, tiny_dataset, tmp_path_factory.mktemp("pretrained_3d"))
        trainer = make_trainer(
            nnUNetTrainerPix2RepV2Pretrain, tiny_dataset, configuration="3d_fullres", plans_name=request.param
        )
        trainer.run_training()
        return request.param, Path(trainer.output_folder) / "checkpoint_final.pth"
