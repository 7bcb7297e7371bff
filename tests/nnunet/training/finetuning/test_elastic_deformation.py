import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_training import make_trainer, training_log

from nnunet_pix2rep.nnunet.training.finetuning.elastic_deformation import (
    LARGEST_DISPLACEMENT,
    switch_on_elastic_deformation,
)
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.finetuning.mean_teacher import Pix2RepMeanTeacherTrainer


def nnunets_transforms(patch_size):
    """nnU-Net's training augmentation without rotation; no mirroring."""
    return nnUNetTrainer.get_training_transforms(
        patch_size, (0, 0), None, (), False, use_mask_for_norm=[False], foreground_labels=[1], ignore_label=2
    )


def spatial_part(transforms):
    (part,) = [part for part in transforms.transforms if isinstance(part, SpatialTransform)]
    return part


def deforming_alone(patch_size):
    """The spatial part of nnU-Net's augmentation, which deforms every patch and does nothing else."""
    transforms = nnunets_transforms(patch_size)
    switch_on_elastic_deformation(transforms, 1.0)
    part = spatial_part(transforms)
    part.p_rotation = part.p_scaling = 0
    return part


def disk(size, radius):
    axes = np.meshgrid(*[np.arange(length) - length / 2 for length in size], indexing="ij")
    return torch.from_numpy((sum(axis**2 for axis in axes) < radius**2)[None])


def test_image_and_labels_are_deformed_alike():
    inside = disk((64, 48), 15)
    image, labels = inside.float(), inside.to(torch.int16)
    moved = []
    for _ in range(20):
        deformed = deforming_alone((64, 48))(image=image, segmentation=labels)
        found, wanted = deformed["image"] > 0.5, deformed["segmentation"] == 1
        assert (found != wanted).sum() <= 2  # ties at the border
        moved.append((wanted != inside).sum().item())
    assert np.median(moved) > 0.05 * inside.sum()  # it has another shape


@pytest.mark.parametrize("size", [(64, 64), (128, 32)])
def test_the_largest_displacement_is_a_part_of_each_edge(size):
    part = deforming_alone(size)
    low, high = LARGEST_DISPLACEMENT
    for _ in range(10):
        offsets = part.get_parameters(image=torch.zeros(1, *size))["elastic_offsets"]
        largest = offsets.abs().amax(dim=tuple(range(len(size)))) / torch.tensor(size)
        assert largest.min() >= low - 1e-6
        assert largest.max() <= high + 1e-6


def test_neighboring_pixels_are_displaced_alike():
    part = deforming_alone((64, 64))
    for _ in range(40):
        offsets = part.get_parameters(image=torch.zeros(1, 64, 64))["elastic_offsets"]
        assert max(offsets.diff(dim=axis).abs().max() for axis in (0, 1)) < 3  # pixels; the largest shift is 6


def test_the_same_seed_deforms_alike():
    image = torch.rand(1, 32, 32)
    drawn = []
    for _ in range(2):
        np.random.seed(3)
        torch.manual_seed(3)
        drawn.append(deforming_alone((32, 32))(image=image)["image"])
    assert torch.equal(*drawn)


def test_an_augmentation_without_a_spatial_transform_is_refused():
    with pytest.raises(RuntimeError, match=r"0 spatial transforms.*elastic_probability to 0"):
        switch_on_elastic_deformation(GaussianNoiseTransform(), 0.5)


@pytest.mark.parametrize("base", [Pix2RepFinetuneTrainer, Pix2RepMeanTeacherTrainer])
@pytest.mark.parametrize(("configuration", "probability"), [("2d", 0.0), ("2d", 0.4), ("3d_fullres", 0.4)])
def test_trainers_deform_2d_training_patches_by_their_settings(tiny, monkeypatch, base, configuration, probability):
    trainer = make_trainer(base, tiny, 0, configuration, finetuning={"elastic_probability": probability})
    monkeypatch.setattr(trainer, "needs_pretrained_weights", False)
    trainer.initialize()
    training, validation = trainer.get_dataloaders()[:2]
    wanted = probability if configuration == "2d" else 0
    assert spatial_part(training.data_loader.transforms).p_elastic_deform == wanted
    assert ("40% of the training patches are deformed" in training_log(trainer)) == (wanted > 0)
    assert not any(isinstance(part, SpatialTransform) for part in validation.data_loader.transforms.transforms)
