"""From a folder of scans without a label to a prediction, as a user types it, on real data."""

import csv
import shutil

import nibabel
import numpy as np
import pytest
import SimpleITK
from command_line import SHORT, CommandLine

from nnunet_pix2rep.files import read_json

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

DATASET = 512
PLANS = "Pix2RepPlans"
PATIENTS = 10


def sunnybrook_parts(real_data):
    """The first patients' image files, with the label file of each."""
    folder = real_data / "sunnybrook" / "Images" / "Sunnybrook_Part1"
    names = sorted({file.name.split("-IM-")[0] for file in folder.iterdir()})[:PATIENTS]
    images = [file for file in sorted(folder.iterdir()) if file.name.split("-IM-")[0] in names]
    return {image: real_data / "sunnybrook" / "Labels" / folder.name / image.name for image in images}


def sunnybrook_volumes(real_data, root):
    """Twenty scans as NIfTI, by the project's own conversion."""
    for image, label in sunnybrook_parts(real_data).items():
        for file, kind in ((image, "Images"), (label, "Labels")):
            target = root / "source" / kind / image.parent.name / image.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    (root / "conversion").mkdir()
    converter = CommandLine(root / "conversion")
    converter.type(f"python -m nnunet_pix2rep.dataset_conversion.Dataset501_Sunnybrook -i {root / 'source'}")
    (raw,) = (root / "conversion" / "nnUNet_raw").iterdir()
    return copy_scans(root, sorted((raw / "imagesTr").iterdir())[: 2 * PATIENTS], raw / "labelsTr")


def hippocampus_volumes(real_data, root):
    """Eight small volumes."""
    raw = real_data / "hippocampus"
    return copy_scans(root, sorted((raw / "imagesTr").iterdir())[:8], raw / "labelsTr")


def copy_scans(root, images, labels):
    """Scans under the names that a user has, and the truth beside them."""
    for folder in ("scans", "truth"):
        (root / folder).mkdir()
    for image in images:
        case = image.name.removesuffix("_0000.nii.gz")
        shutil.copyfile(image, root / "scans" / f"{case}.nii.gz")
        shutil.copyfile(labels / f"{case}.nii.gz", root / "truth" / f"{case}.nii.gz")
    return root / "scans", root / "truth"


def sunnybrook_slices(real_data, root):
    """Single slices as PNG, each a patient's."""
    for folder in ("scans", "truth"):
        (root / folder).mkdir()
    for number, (image, label) in enumerate(list(sunnybrook_parts(real_data).items())[::9][:14]):
        grey = SimpleITK.VectorIndexSelectionCast(SimpleITK.ReadImage(str(image)), 0)
        SimpleITK.WriteImage(grey, str(root / "scans" / f"slice{number:02d}.png"))
        drawn = SimpleITK.ReadImage(str(label))
        drawn = drawn if drawn.GetNumberOfComponentsPerPixel() == 1 else SimpleITK.VectorIndexSelectionCast(drawn, 0)
        SimpleITK.WriteImage(
            SimpleITK.Cast(drawn > 0, SimpleITK.sitkUInt8), str(root / "truth" / f"slice{number:02d}.png")
        )
    return root / "scans", root / "truth"


SOURCES = {
    "sunnybrook": (sunnybrook_volumes, "LV", "2d", 12, "--patient-regex (SC-.+)_E[DS]"),
    "hippocampus": (hippocampus_volumes, "anterior posterior", "3d_fullres", 12, ""),
    "png": (sunnybrook_slices, "LV", "2d", 6, ""),
}


def draw(work, truth, ending):
    """Draws as an annotator would: in the chosen slices alone. One file is saved with another program's header."""
    suggestion = read_json(work / "suggestion.json")
    chosen = {}
    for entry in suggestion["slices"]:
        chosen.setdefault(entry["case"], []).append(entry["index"])
    for number, (case, indices) in enumerate(sorted(chosen.items())):
        file = work / "labels" / f"{case}{ending}"
        image = SimpleITK.ReadImage(str(file))
        labels = SimpleITK.GetArrayFromImage(image)
        true = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(truth / f"{case}{ending}")))
        if labels.ndim == 2:
            labels[:] = true
        else:
            place = [slice(None)] * 3
            place[suggestion["axes"][case]] = indices
            labels[tuple(place)] = true[tuple(place)]
        if number == 0 and ending == ".nii.gz":
            loaded = nibabel.load(file)
            nibabel.save(nibabel.Nifti1Image(labels.T.astype(np.int16), loaded.affine), file)
        else:
            drawn = SimpleITK.GetImageFromArray(labels)
            drawn.CopyInformation(image)
            SimpleITK.WriteImage(drawn, str(file))
    return chosen


@pytest.mark.parametrize("source", SOURCES)
def test_scans_without_a_label_become_a_model(source, real_data, tmp_path):
    make, labels, planned, budget, options = SOURCES[source]
    scans, truth = make(real_data, tmp_path)
    shell, work, configuration = CommandLine(tmp_path), tmp_path / "to_annotate", f"{planned}_compact"
    shell.type(f"nnunet_pix2rep new_dataset -i {scans} -d {DATASET} -n Scans --labels {labels} {options}")
    shell.type(f"nnunet_pix2rep plan_unlabeled -d {DATASET} -c {planned} --no_pp")
    shell.type(f"nnunet_pix2rep plan -d {DATASET} -c {planned} --compact -o {PLANS} --set {' '.join(SHORT)}")
    shell.type(f"nnunet_pix2rep preprocess_unlabeled -d {DATASET} -p {PLANS} -c {configuration}")
    shell.train(DATASET, configuration, "all", PLANS, "nnUNetTrainerPix2RepV2Pretrain")
    suggest = f"nnunet_pix2rep suggest -d {DATASET} -p {PLANS} -c {configuration} -device cpu --slices"
    shell.type(f"{suggest} {budget} -o {work}")

    raw = next((tmp_path / "nnUNet_raw").glob("Dataset512_*"))
    ending = read_json(raw / "dataset.json")["file_ending"]
    with (work / "worklist.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == budget
    assert "<svg" in (work / "overview.html").read_text() or "data:image/png" in (work / "overview.html").read_text()

    chosen = draw(work, truth, ending)
    shell.type(f"nnunet_pix2rep collect -i {work / 'labels'} -d {DATASET} --allow-empty")
    assert {file.name.removesuffix(ending) for file in (raw / "labelsTr").glob(f"*{ending}")} == set(chosen)
    folder, _ = shell.train(DATASET, configuration, "all", PLANS, "nnUNetTrainerPix2RepFinetune")
    assert (folder / "checkpoint_final.pth").is_file()

    shell.type(
        f"nnUNetv2_predict -i {raw / 'imagesUn'} -o {tmp_path / 'predicted'} -d {DATASET} -p {PLANS} "
        f"-c {configuration} -f all -tr nnUNetTrainerPix2RepFinetune -device cpu -npp 1 -nps 1 --disable_tta"
    )
    unlabeled = {file.name.removesuffix(f"_0000{ending}") for file in (raw / "imagesUn").glob(f"*_0000{ending}")}
    assert {file.name.removesuffix(ending) for file in (tmp_path / "predicted").glob(f"*{ending}")} == unlabeled

    shell.type(f"{suggest} 2 -o {tmp_path / 'second'}")
    second = {(entry["case"], entry["index"]) for entry in read_json(tmp_path / "second" / "suggestion.json")["slices"]}
    assert not second & {(case, index) for case, indices in chosen.items() for index in indices}
