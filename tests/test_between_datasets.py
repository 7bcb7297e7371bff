"""From one dataset to another as users type it: pretrained on images of one channel, fine-tuned on two."""

import numpy as np
import pytest
import SimpleITK
import torch
from command_line import SHORT, CommandLine

from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.checkpoints.leak_guard import seen_cases

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

FIRST, SECOND = "Dataset921_HospitalA", "Dataset922_HospitalB"
INPUT = "encoder.stages.0.0.convs.0.conv.weight"


def make_raw(folder, prefix, num_channels, shape, spacing):
    """Two volumes of a bright ball, whose label it is."""
    generator = np.random.default_rng(0)
    ball = np.linalg.norm(np.indices(shape) - np.array(shape).reshape(3, 1, 1, 1) / 2, axis=0) < min(shape) / 2
    for case in (f"{prefix}_1", f"{prefix}_2"):
        volumes = {f"labelsTr/{case}": ball.astype(np.uint8)}
        for channel in range(num_channels):
            noise = generator.normal(0, 0.3, shape)
            volumes[f"imagesTr/{case}_{channel:04d}"] = (ball * (1.0 + channel) + noise).astype(np.float32)
        for name, volume in volumes.items():
            image = SimpleITK.GetImageFromArray(volume)
            image.SetSpacing(spacing)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            SimpleITK.WriteImage(image, str(folder / f"{name}.nii.gz"))
    channels = {str(channel): "MRI" for channel in range(num_channels)}
    dataset_json = {"channel_names": channels, "labels": {"background": 0, "ball": 1}, "numTraining": 2}
    write_json(dataset_json | {"file_ending": ".nii.gz"}, folder / "dataset.json")


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """nnU-Net folders with both raw datasets, which differ in channels, size and spacing."""
    root = tmp_path_factory.mktemp("hospitals")
    make_raw(root / "nnUNet_raw" / FIRST, "berlin", 1, (8, 32, 32), (1.0, 1.0, 2.0))
    make_raw(root / "nnUNet_raw" / SECOND, "lyon", 2, (6, 40, 36), (1.3, 1.3, 3.0))
    return CommandLine(root)


def test_weights_of_one_channel_are_fine_tuned_on_two(shell):
    shell.type("nnUNetv2_plan_and_preprocess -d 921 -c 2d --no_pp -npfp 1")
    shell.type(f"nnunet_pix2rep plan -d 921 -c 2d --compact -o Small --set {' '.join(SHORT)}")
    shell.type("nnUNetv2_preprocess -d 921 -plans_name Small -c 2d_compact -np 1")
    folder, _ = shell.train(921, "2d_compact", "all", "Small", "nnUNetTrainerPix2RepV2Pretrain")
    weights = shell.root / "weights.pth"
    shell.type(f"nnunet_pix2rep export {folder / 'checkpoint_final.pth'} --format nnunet -o {weights}")

    shell.type("nnUNetv2_plan_and_preprocess -d 922 -c 2d --no_pp -npfp 1")
    setting = "finetuning.other_input_channels=adapt"
    shell.type(f"nnunet_pix2rep plan -d 922 -c 2d_compact -o OfA --weights {weights} --set {setting}")
    shell.type("nnUNetv2_preprocess -d 922 -plans_name OfA -c 2d_compact -np 1")
    folder, log = shell.train(
        922, "2d_compact", "all", "OfA", "nnUNetTrainerPix2RepFinetune", f"-pretrained_weights {weights}"
    )

    assert f"adapted: {INPUT} from shape (16, 1, 3, 3) to (16, 2, 3, 3)" in log
    assert (folder / "validation" / "summary.json").is_file()
    checkpoint = torch.load(folder / "checkpoint_final.pth", weights_only=True)
    assert checkpoint["network_weights"][INPUT].shape == (16, 2, 3, 3)
    record = checkpoint["pix2rep"]
    assert record["pretrained"]["dataset_name"] == FIRST
    assert seen_cases(record, FIRST) == {"berlin_1", "berlin_2"}
    assert seen_cases(record, SECOND) == {"lyon_1", "lyon_2"}
