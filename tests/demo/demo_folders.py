"""Folders as a demo leaves them, with small volumes and without any training."""

import numpy as np
import SimpleITK

from nnunet_pix2rep.annotation.slices import Slice
from nnunet_pix2rep.annotation.work_folder import LABELS, SuggestedSlice, Suggestion, write_suggestion
from nnunet_pix2rep.demo.settings import DemoFolders
from nnunet_pix2rep.files import write_json

DATASET = "Dataset900_CardiacPhantom"
SHAPE = (4, 6, 5)
IGNORE = 3


def write_volume(file, array):
    file.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((1.5, 1.25, 8))
    SimpleITK.WriteImage(image, str(file))


def read_volume(file):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))


def suggestion_of(slices):
    """A suggestion of slices, given as (patient, case, index)."""
    entries = tuple(
        SuggestedSlice(rank, case, patient, index, None) for rank, (patient, case, index) in enumerate(slices, 1)
    )
    return Suggestion(
        dataset=DATASET,
        plans="Pix2RepPlans",
        configuration="2d_compact",
        checkpoint=None,
        features=None,
        selector="random",
        seed=0,
        budget=len(entries),
        unit="slices",
        axes={entry.case: 0 for entry in entries},
        slices=entries,
        pool={"patients": 2, "cases": 2, "slices": 8},
        patients_left_out={},
        annotated_before=(Slice("other", 0),),
        like=None,
        package_version="0",
    )


def write_work_folder(work, slices):
    """A work folder with label files to draw in."""
    suggestion = suggestion_of(slices)
    for case, indices in suggestion.chosen().items():
        labels = np.full(SHAPE, IGNORE, dtype=np.uint8)
        labels[indices] = 0
        write_volume(work / LABELS / f"{case}.nii.gz", labels)
    write_suggestion(suggestion, work)


def finished_demo(output, predictions):
    """A demo whose predictions are given: method -> case -> volume; the truth is 1 in the first two slices, else 2."""
    folders = DemoFolders(output, DATASET)
    labels = {"background": 0, "RV": 1, "LV": 2, "ignore": IGNORE}
    write_json({"labels": labels}, output / "nnUNet_raw" / DATASET / "dataset.json")
    truth = np.full(SHAPE, 2, dtype=np.uint8)
    truth[:2] = 1
    for method, cases in predictions.items():
        for case, volume in cases.items():
            write_volume(folders.prediction(method) / f"{case}.nii.gz", volume)
            write_volume(folders.test / "labels" / f"{case}.nii.gz", truth)
            write_json({case: case[0] for case in cases}, folders.test / "patients.json")
    write_work_folder(folders.work(folders.one_patient), [("p", "p_ED", 0), ("p", "p_ED", 1)])
    write_work_folder(folders.work(folders.output), [("p", "p_ED", 0), ("q", "q_ED", 3)])
    return folders, truth
