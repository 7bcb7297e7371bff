import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from nnunetv2.paths import nnUNet_results
from nnunetv2.run.run_training import run_training
from tiny_training import CASES, DATASET, PLANS

from nnunet_pix2rep.installation import trainers_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

WITHOUT_THIS_PACKAGE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "nnunet_pix2rep":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocker())

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

image, *models = sys.argv[1:]
for model in models:
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(model, (0,))
    predictor.predict_from_files_sequential([[image]], [model + "/prediction"])
assert "nnunet_pix2rep" not in sys.modules
"""


def train(trainer, pretrained):
    """Trains on the command line's way; returns the model folder."""
    run_training(DATASET, "2d", "0", trainer, PLANS, pretrained_weights=str(pretrained), device=torch.device("cpu"))
    return Path(nnUNet_results) / DATASET / f"{trainer}__{PLANS}__2d"


def read(path):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def environment(**changes):
    kept = {name: value for name, value in os.environ.items() if name not in ("nnUNet_extTrainer", "nnUNet_n_proc_DA")}
    return kept | {"OMP_NUM_THREADS": "1", "nnUNet_def_n_proc": "1"} | changes


def test_a_nnunet_without_this_package_predicts_as_the_trainers_validated(tiny, pretrained_checkpoint):
    names = ("nnUNetTrainerPix2RepFinetune", "nnUNetTrainerPix2RepMeanTeacher")
    models = [train(name, pretrained_checkpoint) for name in names]
    image = tiny.parents[1] / "nnUNet_raw" / DATASET / "imagesTr" / f"{CASES[4]}_0000.nii.gz"
    command = [sys.executable, "-c", WITHOUT_THIS_PACKAGE, str(image), *map(str, models)]
    process = subprocess.run(command, env=environment(), capture_output=True, encoding="utf-8", check=False)
    assert process.returncode == 0, process.stderr[-3000:]
    for model in models:
        validated = read(model / "fold_0" / "validation" / f"{CASES[4]}.nii.gz")
        np.testing.assert_array_equal(read(model / "prediction.nii.gz"), validated)


def test_nnunetv2_predict_uses_a_hypercolumn_probe(tiny, pretrained_checkpoint, tmp_path):
    trainer = "nnUNetTrainerPix2RepLinearProbe"
    model = train(trainer, pretrained_checkpoint)
    images, output = tmp_path / "images", tmp_path / "predictions"
    images.mkdir()
    raw = tiny.parents[1] / "nnUNet_raw" / DATASET / "imagesTr"
    (images / f"{CASES[4]}_0000.nii.gz").symlink_to(raw / f"{CASES[4]}_0000.nii.gz")
    options = f"-d {DATASET} -c 2d -f 0 -tr {trainer} -p {PLANS} -device cpu -npp 1 -nps 1"
    code = "from nnunetv2.inference.predict_from_raw_data import predict_entry_point; predict_entry_point()"
    command = [sys.executable, "-c", code, "-i", str(images), "-o", str(output), *options.split()]
    with_ours = environment(nnUNet_extTrainer=str(trainers_folder()))
    process = subprocess.run(command, env=with_ours, capture_output=True, encoding="utf-8", check=False)
    assert process.returncode == 0, process.stderr[-3000:]
    np.testing.assert_array_equal(
        read(output / f"{CASES[4]}.nii.gz"), read(model / "fold_0" / "validation" / f"{CASES[4]}.nii.gz")
    )
