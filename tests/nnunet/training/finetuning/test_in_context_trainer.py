"""Segmentation in context as a method of the benchmark: the same as the command, through nnU-Net's training."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from in_context_folders import make_folders, raw_of
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from tiny_training import ORDINARY_LABELS, REGIONS, make_tiny_dataset, make_trainer, prepare_for_training

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.checkpoints.files import FINAL, load_checkpoint_file
from nnunet_pix2rep.nnunet.features.model import load_feature_model
from nnunet_pix2rep.nnunet.in_context.classifier import InContextSettings, build_classifier
from nnunet_pix2rep.nnunet.in_context.segment_folder import segment_in_context
from nnunet_pix2rep.nnunet.training.finetuning import in_context
from nnunet_pix2rep.nnunet.training.finetuning.in_context import Pix2RepInContextTrainer
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepPretrain

IGNORE = 3
SETTINGS = InContextSettings(k=5, max_support=1000)


class nnUNetTrainerPix2RepInContext(Pix2RepInContextTrainer):
    """With fewer pixels to compare; named as the one that users type, which the checkpoint refers to."""

    in_context = SETTINGS


def read(path):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def segment(folder, checkpoint, **options):
    trainer = make_trainer(nnUNetTrainerPix2RepInContext, folder, **options)
    trainer.initialize()
    trainer.load_pretrained(checkpoint)
    trainer.run_training()
    trainer.perform_actual_validation()
    return Path(trainer.output_folder)


def test_the_validation_cases_are_segmented_as_by_the_command(tiny, pretrained_checkpoint, tmp_path):
    output = segment(tiny, pretrained_checkpoint)
    folders = make_folders(raw_of(tiny), tmp_path)
    model = load_feature_model(pretrained_checkpoint, None, torch.device("cpu"))
    segment_in_context(model, folders["images"], folders["labels"], folders["query"], folders["output"], SETTINGS)
    expected = read(folders["output"] / "case_04.nii.gz")
    assert expected.any()
    np.testing.assert_array_equal(read(output / "validation" / "case_04.nii.gz"), expected)
    summary = read_json(output / "validation" / "summary.json")
    assert len(summary["metric_per_case"]) == 2
    assert 0 < summary["foreground_mean"]["Dice"] <= 1


def test_nothing_is_trained_and_the_record_says_how_it_was_done(tiny, pretrained_checkpoint):
    checkpoint = load_checkpoint_file(segment(tiny, pretrained_checkpoint) / FINAL)
    before = load_checkpoint_file(pretrained_checkpoint)["network_weights"]
    after = checkpoint["network_weights"]
    assert after.keys() == {key for key in before if ".seg_layers." not in key}
    assert all(torch.equal(after[key], before[key]) for key in after)
    assert checkpoint["trainer_name"] == "nnUNetTrainerPix2RepInContext"
    assert checkpoint["pix2rep"]["in_context"] == SETTINGS.to_record()
    assert checkpoint["pix2rep"]["pretrained"]["file"] == str(pretrained_checkpoint)


def test_the_validation_alone_may_be_repeated(tiny, pretrained_checkpoint):
    output = segment(tiny, pretrained_checkpoint)
    files = [output / "validation" / name for name in ("case_04.nii.gz", "summary.json")]
    before = read(files[0])
    for file in files:
        file.unlink()
    trainer = make_trainer(nnUNetTrainerPix2RepInContext, tiny)
    trainer.load_checkpoint(str(output / FINAL))
    trainer.perform_actual_validation()
    np.testing.assert_array_equal(read(files[0]), before)
    assert files[1].is_file()


def test_nnunets_prediction_stops_instead_of_using_random_layers(tiny, pretrained_checkpoint):
    output = segment(tiny, pretrained_checkpoint)
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    with pytest.raises(RuntimeError, match=r"Missing key.*seg_layers"):
        predictor.initialize_from_trained_model_folder(str(output.parent), (0,), FINAL)


@pytest.mark.parametrize("labels", [ORDINARY_LABELS, REGIONS], ids=["labels", "regions"])
def test_only_annotated_slices_are_support(labels, tmp_path, monkeypatch):
    folder = make_tiny_dataset(
        tmp_path / "sparse",
        labels=labels | {"ignore": IGNORE},
        ignored_value=IGNORE,
        annotated_slices={f"case_{number:02d}": [6] for number in range(6)},
    )
    prepare_for_training(monkeypatch, folder, tmp_path)
    pretraining = make_trainer(nnUNetTrainerPix2RepPretrain, folder)
    pretraining.run_training()
    annotated = []

    def noting(model, extractor, images, **options):
        images = list(images)
        annotated.extend(np.flatnonzero((image.labels >= 0).any(axis=(1, 2))).tolist() for image in images)
        return build_classifier(model, extractor, images, **options)

    monkeypatch.setattr(in_context, "build_classifier", noting)
    output = segment(folder, Path(pretraining.output_folder) / FINAL)
    assert annotated == [[6], [6]]
    predicted = read(output / "validation" / "case_04.nii.gz")
    assert predicted.any()
    assert set(np.unique(predicted)) <= {0, 1, 2}


def test_it_needs_weights_that_have_not_seen_the_validation_patients(tiny, pretrained_checkpoint):
    with pytest.raises(UserError, match="seen"):
        segment(tiny, pretrained_checkpoint, fold=2)
