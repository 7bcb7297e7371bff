"""Features, segmentation in context and propagation on a GPU are those of the CPU.

A GPU computes features in nnU-Net's AMP, float16, of which single values are off by some thousandths and the norm of a
feature vector by less than a hundredth. Labels are votes of nearest neighbors, of which a few at the borders tip.
"""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from gpu_training import CONFIGURATIONS, PRETRAINERS, initialized, relative_distance
from in_context_folders import make_folders, raw_of

from nnunet_pix2rep.nnunet.features.extraction import FeatureExtractor
from nnunet_pix2rep.nnunet.features.model import load_feature_model
from nnunet_pix2rep.nnunet.in_context.classifier import InContextSettings
from nnunet_pix2rep.nnunet.in_context.propagate_series import propagate
from nnunet_pix2rep.nnunet.in_context.segment_folder import segment_in_context

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")
FEATURE_TOLERANCE = 0.02
EQUAL_LABELS = 0.98
SETTINGS = InContextSettings(k=5, max_support=1000)


def checkpoint_of(tiny, configuration):
    """An untrained network: what is compared does not depend on what it has learned."""
    trainer = initialized(PRETRAINERS["barlow_twins"], tiny, CPU, configuration)
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()  # notes the axes to mirror along
    path = Path(trainer.output_folder) / "checkpoint_final.pth"
    trainer.save_checkpoint(str(path))
    return path


def labels_in(path):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


@pytest.mark.parametrize("features", ["projected", "hypercolumn"])
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_features_are_those_of_the_cpu(tiny, device, configuration, features):
    checkpoint = checkpoint_of(tiny, configuration)
    image = np.random.default_rng(0).normal(size=(1, 9, 30, 20)).astype(np.float32)
    voxels = np.random.default_rng(1).integers(0, (9, 30, 20), (50, 3))
    found, expected = (
        FeatureExtractor(load_feature_model(checkpoint, features, place), mirroring=True).features_at(image, voxels)
        for place in (device, CPU)
    )
    assert found.device == CPU
    assert relative_distance(found, expected) < FEATURE_TOLERANCE


def test_segmentation_in_context_is_that_of_the_cpu(tiny, device, tmp_path):
    checkpoint = checkpoint_of(tiny, "2d")
    folders = make_folders(raw_of(tiny), tmp_path)
    inputs = [folders[name] for name in ("images", "labels", "query")]
    found = []
    for name, place in (("device", device), ("cpu", CPU)):
        model = load_feature_model(checkpoint, "hypercolumn", place)
        assert segment_in_context(model, *inputs, tmp_path / name, SETTINGS).segmented == ["case_04"]
        found.append(labels_in(tmp_path / name / "case_04.nii.gz"))
    assert (found[0] == found[1]).mean() > EQUAL_LABELS
    assert len(np.unique(found[1])) > 1


def test_propagation_is_that_of_the_cpu(tiny, device, tmp_path):
    checkpoint = checkpoint_of(tiny, "2d")
    raw = raw_of(tiny)
    frame = SimpleITK.ReadImage(str(raw / "imagesTr" / "case_00_0000.nii.gz"))
    SimpleITK.WriteImage(SimpleITK.JoinSeries([frame, frame * 1.1], 0.0, 25.0), str(tmp_path / "series.nii.gz"))
    found = []
    for name, place in (("device", device), ("cpu", CPU)):
        model = load_feature_model(checkpoint, "hypercolumn", place)
        output = tmp_path / f"{name}.nii.gz"
        propagate(model, [tmp_path / "series.nii.gz"], raw / "labelsTr" / "case_00.nii.gz", 1, output, SETTINGS)
        found.append(labels_in(output))
    assert (found[0] == found[1]).mean() > EQUAL_LABELS
    assert len(np.unique(found[1][1])) > 1
