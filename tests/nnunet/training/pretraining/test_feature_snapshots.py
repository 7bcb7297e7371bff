from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_training import make_trainer

from nnunet_pix2rep.nnunet.data.preprocessed_images import preprocessed_cases
from nnunet_pix2rep.nnunet.training.pretraining.feature_snapshots import central_patches, is_picture_due
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepPretrain


@pytest.mark.parametrize(
    ("every", "num_epochs", "expected"),
    [(0, 5, []), (1, 3, [1, 2, 3]), (2, 5, [2, 4, 5]), (10, 3, [3]), (5, 10, [5, 10])],
)
def test_pictures_are_drawn_every_so_often_and_at_the_end(every, num_epochs, expected):
    assert [done for done in range(1, num_epochs + 1) if is_picture_due(done, num_epochs, every)] == expected


@pytest.mark.parametrize(("configuration", "size"), [("2d", (24, 24)), ("3d_fullres", (8, 16, 16))])
def test_patches_lie_in_the_middle_of_the_same_cases(tiny, configuration, size):
    cases = preprocessed_cases(str(tiny / f"TinyPlans_{configuration}"))
    names, patches = central_patches(cases, size)
    assert names == ["case_00", "case_02", "case_03", "case_05"]
    assert patches.shape == (4, 1, *size)
    expected = np.asarray(cases[0].open()[:])[0]
    expected = expected[5, 4:28, 4:28] if len(size) == 2 else expected[2:10, 8:24, 8:24]
    np.testing.assert_array_equal(patches[0, 0].numpy(), expected)
    assert len(central_patches(cases[:1], size)[0]) == 1


def test_patches_larger_than_the_image_are_padded(tiny):
    cases = preprocessed_cases(str(tiny / "TinyPlans_2d"))
    _, patches = central_patches(cases[:1], (40, 40))
    assert patches.shape == (1, 1, 40, 40)
    assert not patches[0, 0, :4].any()


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_a_pretraining_leaves_pictures_and_trains_as_without(tiny, configuration):
    weights = []
    for every, names in ((2, ["features_epoch_0002.png", "features_epoch_0003.png"]), (0, [])):
        settings = {"picture_every": every}
        trainer = make_trainer(nnUNetTrainerPix2RepPretrain, tiny, configuration=configuration, pretraining=settings)
        trainer.run_training()
        folder = Path(trainer.output_folder)
        assert sorted(path.name for path in folder.glob("features_*")) == names
        weights.append(torch.cat([parameter.flatten() for parameter in trainer.network.parameters()]))
        for name in names:
            with Image.open(folder / name) as picture:
                assert min(picture.size) > 300
            (folder / name).unlink()
    torch.testing.assert_close(*weights, rtol=0, atol=0)
