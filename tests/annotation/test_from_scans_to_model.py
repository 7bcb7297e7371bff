"""From scans without a label to a prediction, on real data: the commands of the tutorials, and PNG images."""

import csv
import shutil

import numpy as np
import pytest
import SimpleITK
from command_line import SHORT
from tutorial_pages import TutorialShell, commands_of, shortened

from nnunet_pix2rep.annotation.work_folder import read_suggestion

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

NUM_PATIENTS, NUM_VOLUMES, NUM_IMAGES = 5, 6, 8


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Runs commands in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    shell = TutorialShell(tmp_path)
    yield shell
    shell.close()


def sunnybrook_files(real_data, num_patients):
    """The first patients' image files, with the label file of each."""
    folder = real_data / "sunnybrook" / "Images" / "Sunnybrook_Part1"
    names = sorted({file.name.split("-IM-")[0] for file in folder.iterdir()})[:num_patients]
    images = [file for file in sorted(folder.iterdir()) if file.name.split("-IM-")[0] in names]
    return {image: real_data / "sunnybrook" / "Labels" / folder.name / image.name for image in images}


def copy_sunnybrook(real_data, root):
    """Part of the data in its own layout, which the page's first command converts."""
    for files in sunnybrook_files(real_data, NUM_PATIENTS).items():
        for file in files:
            target = root / file.relative_to(real_data)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def copy_hippocampus(real_data, root):
    """Some of the volumes."""
    for image in sorted((real_data / "hippocampus" / "imagesTr").iterdir())[:NUM_VOLUMES]:
        case = image.name.removesuffix("_0000.nii.gz")
        for name in (f"imagesTr/{image.name}", f"labelsTr/{case}.nii.gz"):
            target = root / "hippocampus" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(real_data / "hippocampus" / name, target)


def copy_png(real_data, root):
    """Single slices at half the resolution, each as if of another patient, and their labels."""
    files = list(sunnybrook_files(real_data, NUM_IMAGES).items())[::9][:NUM_IMAGES]
    for folder in ("scans", "truth"):
        (root / folder).mkdir()
    for number, (image, label) in enumerate(files):
        gray, drawn = (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))) for file in (image, label))
        drawn = (drawn if drawn.ndim == 2 else drawn[..., 0]) > 0
        for folder, picture in (("scans", gray[..., 0]), ("truth", drawn.astype(np.uint8))):
            SimpleITK.WriteImage(
                SimpleITK.GetImageFromArray(picture[::2, ::2]), str(root / folder / f"{number:02d}.png")
            )


def check_model(root, ending):
    """What was chosen is annotated, everything else is predicted, and the next suggestion is another."""
    first, second = (read_suggestion(root / name) for name in ("to_annotate", "next_round"))
    raw = root / "nnUNet_raw" / first.dataset
    with (root / "to_annotate" / "worklist.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(first.slices)
    assert "data:image/png" in (root / "to_annotate" / "overview.html").read_text()
    assert cases_in(raw / "labelsTr", ending) == cases_in(raw / "imagesTr", f"_0000{ending}") == set(first.chosen())
    results = root / "nnUNet_results" / first.dataset
    assert len(list(results.glob("nnUNetTrainerPix2RepFinetune__*/fold_all/checkpoint_final.pth"))) == 1
    unlabeled = cases_in(raw / "imagesUn", f"_0000{ending}")
    assert unlabeled
    assert cases_in(root / "predicted", ending) == unlabeled
    assert not set(slices_of(first)) & set(slices_of(second))


def cases_in(folder, ending):
    return {file.name.removesuffix(ending) for file in folder.glob(f"*{ending}")}


def slices_of(suggestion):
    return [(entry.case, entry.index) for entry in suggestion.slices]


@pytest.mark.parametrize(
    ("page", "copy_data"), [("sunnybrook_2d.md", copy_sunnybrook), ("hippocampus_3d.md", copy_hippocampus)]
)
def test_the_commands_of_a_tutorial_lead_to_a_model(page, copy_data, real_data, tmp_path, shell):
    copy_data(real_data, tmp_path)
    for command in commands_of(page):
        shell.type(shortened(command))
    check_model(tmp_path, ".nii.gz")


def test_png_images_without_a_label_become_a_model(real_data, tmp_path, shell):
    copy_png(real_data, tmp_path)
    plans = "-d 513 -p Pix2RepPlans -c 2d_compact"
    train = "nnUNetv2_train 513 2d_compact all -p Pix2RepPlans -device cpu -tr"
    for line in (
        "nnunet_pix2rep new_dataset -i scans -d 513 -n Png --labels LV",
        "nnunet_pix2rep plan_unlabeled -d 513 -c 2d --no_pp -np 1",
        f"nnunet_pix2rep plan -d 513 -c 2d --compact -o Pix2RepPlans --set {' '.join(SHORT)}",
        f"nnunet_pix2rep preprocess_unlabeled {plans} -np 1",
        f"{train} nnUNetTrainerPix2RepV2Pretrain",
        f"nnunet_pix2rep suggest {plans} -device cpu --slices 4 -o to_annotate",
    ):
        shell.type(tuple(line.split()))
    for case in read_suggestion(tmp_path / "to_annotate").chosen():
        shutil.copyfile(tmp_path / "truth" / f"{case}.png", tmp_path / "to_annotate" / "labels" / f"{case}.png")
    for line in (
        "nnunet_pix2rep collect -i to_annotate/labels -d 513 --allow-empty",
        f"{train} nnUNetTrainerPix2RepFinetune",
        f"nnUNetv2_predict -i nnUNet_raw/Dataset513_Png/imagesUn -o predicted {plans} "
        "-f all -tr nnUNetTrainerPix2RepFinetune -device cpu",
        f"nnunet_pix2rep suggest {plans} -device cpu --slices 2 -o next_round",
    ):
        shell.type(tuple(line.split()))
    check_model(tmp_path, ".png")
