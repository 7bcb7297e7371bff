from pathlib import Path

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from tiny_training import CASES, DATASET, differing, make_trainer, training_log, weights_of
from torch.nn.functional import interpolate

from nnunet_pix2rep.installation import trainers_folder
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file
from nnunet_pix2rep.nnunet.networks.decoder_features import DecoderFeatures
from nnunet_pix2rep.nnunet.training.finetuning.linear_probe import Pix2RepLinearProbeTrainer


class nnUNetTrainerPix2RepLinearProbe(Pix2RepLinearProbeTrainer):
    """Named as the one that users type, which the checkpoint of a hypercolumn probe refers to."""


class WatchedProbe(nnUNetTrainerPix2RepLinearProbe):
    """Notes which modules are in training mode at every step."""

    training_modules: frozenset = frozenset()

    def train_step(self, batch):
        names = {name for name, module in self.network.named_modules() if module.training}
        self.training_modules = self.training_modules | names
        return super().train_step(batch)


def run(folder, checkpoint, trainer_class=nnUNetTrainerPix2RepLinearProbe, configuration="2d", **pretraining):
    trainer = make_trainer(trainer_class, folder, configuration=configuration, pretraining=pretraining)
    trainer.initialize()
    if checkpoint is not None:
        trainer.load_pretrained(checkpoint)
    return trainer


@pytest.mark.parametrize(("features", "moving"), [("hypercolumn", {"0", "1"}), ("last_stage", {"1"})])
def test_only_the_segmentation_layers_move(tiny, pretrained_checkpoint, features, moving):
    trainer = run(tiny, pretrained_checkpoint, sampling={"features": features})
    before = weights_of(trainer.network)
    trainer.run_training()
    moved = differing(before, weights_of(trainer.network))
    assert {key.split(".seg_layers.")[1].split(".")[0] for key in moved} == moving


def test_the_backbone_stays_in_eval_mode(tiny, pretrained_checkpoint):
    trainer = run(tiny, pretrained_checkpoint, WatchedProbe)
    trainer.run_training()
    assert trainer.training_modules
    assert all(".seg_layers" in name for name in trainer.training_modules)


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_the_hypercolumn_probe_is_a_linear_layer_on_all_upsampled_features(tiny, configuration):
    trainer = make_trainer(nnUNetTrainerPix2RepLinearProbe, tiny, configuration=configuration)
    trainer.initialize()
    size = trainer.configuration_manager.patch_size
    images = torch.randn(2, 1, *size)
    mode = "bilinear" if len(size) == 2 else "trilinear"
    with torch.no_grad():
        maps = DecoderFeatures(trainer.network, "hypercolumn")(images)
        features = torch.cat([interpolate(m, tuple(size), mode=mode, align_corners=False) for m in maps], dim=1)
        layers = trainer.network.decoder.seg_layers
        weight = torch.cat([layer.weight.flatten(1) for layer in layers], dim=1)
        expected = torch.einsum("kc,bc...->bk...", weight, features)
        expected += sum(layer.bias for layer in layers).reshape(1, -1, *[1] * len(size))
        torch.testing.assert_close(trainer.network(images), expected, rtol=1e-4, atol=1e-4)


def predictor_of(trainer):
    predictor = nnUNetPredictor(device=torch.device("cpu"), use_mirroring=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (trainer.fold,))
    return predictor


@pytest.mark.parametrize("features", ["hypercolumn", "last_stage"])
def test_nnunet_predicts_what_the_trainer_does(tiny, pretrained_checkpoint, monkeypatch, features):
    trainer = run(tiny, pretrained_checkpoint, sampling={"features": features})
    trainer.run_training()
    name = load_checkpoint_file(Path(trainer.output_folder) / "checkpoint_final.pth")["trainer_name"]
    if features == "hypercolumn":
        assert name == "nnUNetTrainerPix2RepLinearProbe"
        assert "nnUNet_extTrainer" in training_log(trainer)
        monkeypatch.setenv("nnUNet_extTrainer", str(trainers_folder()))
    else:
        assert name == "nnUNetTrainer"
        monkeypatch.delenv("nnUNet_extTrainer")
    images = torch.randn(2, 1, 24, 24)
    network = predictor_of(trainer).network.eval()
    with torch.no_grad():
        torch.testing.assert_close(network(images), trainer.network.eval()(images))


def test_its_validation_runs_through_nnunet(tiny, pretrained_checkpoint):
    trainer = run(tiny, pretrained_checkpoint)
    trainer.run_training()
    trainer.perform_actual_validation()
    predicted = sorted(file.name for file in Path(trainer.output_folder, "validation").glob("*.nii.gz"))
    assert predicted == [f"{case}.nii.gz" for case in CASES[4:]]
    assert DATASET in trainer.output_folder
