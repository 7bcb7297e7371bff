"""A dataset of scans without labels, and an annotator who draws from the truth in nothing but the chosen slices."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import SimpleITK
from batchgenerators.utilities.file_and_folder_operations import load_pickle
from tiny_training import DATASET, PLANS, SHAPE

from nnunet_pix2rep.annotation.collect.run import collect
from nnunet_pix2rep.annotation.label_files import LabelFiles, labels_to_draw_in
from nnunet_pix2rep.annotation.slices import Slice, slice_digests
from nnunet_pix2rep.annotation.work_folder import LATER_FIELDS, SuggestedSlice, Suggestion, write_suggestion
from nnunet_pix2rep.files import checksum, read_json, write_json

IGNORE = 3
CHOSEN = {"case_00": [6], "case_03": [3, 7]}
FOLDERS = (f"{PLANS}_2d", f"{PLANS}_3d_fullres")
IGNORE_LABELS = {"background": 0, "ring": 1, "core": 2, "ignore": IGNORE}
KEPT = (
    "case_03.nii.gz, slice 3: nothing new here, while the dataset has newer labels; those are kept. "
    "--put-back CASE:SLICE takes it all the same"
)
REPLACED = "case_03.nii.gz, slice 3: annotated before and changed now; the new labels are taken"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def expected(scans: "Scans", case: str, slices: Sequence[int]) -> np.ndarray:
    """The truth in these slices, and ignore everywhere else."""
    labels = np.full(SHAPE, IGNORE)
    labels[slices] = scans.truth(case)[slices]
    return labels


class Scans:
    """The dataset, with what tests do to it."""

    def __init__(self, root: Path):
        self.root = root
        self.raw = root / "nnUNet_raw" / DATASET
        self.preprocessed = root / "nnUNet_preprocessed" / DATASET
        self.work = root / "work"
        self.labels = self.work / "labels"

    def reader(self) -> LabelFiles:
        return LabelFiles(read_json(self.raw / "dataset.json"))

    def truth(self, case: str) -> np.ndarray:
        return self.reader().read(self.root / "truth" / f"{case}.nii.gz").labels

    def taken(self, case: str) -> np.ndarray:
        return self.reader().read(self.raw / "labelsTr" / f"{case}.nii.gz").labels

    def image_files(self, case: str) -> list[Path]:
        return sorted(self.raw.glob(f"images*/{case}_*.nii.gz")) or sorted(self.work.glob(f"images/{case}_*.nii.gz"))

    def suggest(
        self,
        chosen: Mapping[str, Sequence[int]],
        before: Mapping[str, Sequence[int]] | None = None,
        seed: int = 0,
        axis: int = 0,
        copies: Mapping[str, SimpleITK.Image] | None = None,
        patients: Mapping[str, str] | None = None,
        labels: Mapping[str, Any] = IGNORE_LABELS,
        drafts: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Writes a work folder as ``nnunet_pix2rep suggest`` does; of images only the ``copies``, named by case.

        Drafts are given as whole segmentations, of which the chosen slices are filled in.
        """
        shutil.rmtree(self.work, ignore_errors=True)
        (self.work / "images").mkdir(parents=True)
        for case, image in (copies or {}).items():
            SimpleITK.WriteImage(image, str(self.work / "images" / f"{case}_0000.nii.gz"))
        slices = [(case, index) for case, indices in chosen.items() for index in indices]
        before, patients = before or {}, patients or {}
        suggestion = Suggestion(
            dataset=DATASET,
            plans=PLANS,
            configuration="2d",
            checkpoint=None,
            features=None,
            selector="random",
            seed=seed,
            budget=len(slices),
            unit="slices",
            axes=dict.fromkeys([*chosen, *before], axis),
            slices=tuple(
                SuggestedSlice(rank, case, patients.get(case, f"patient_of_{case}"), index, None)
                for rank, (case, index) in enumerate(slices, start=1)
            ),
            pool={"patients": 6, "cases": 6, "slices": 72},
            patients_left_out={},
            annotated_before=tuple(Slice(case, index) for case, indices in before.items() for index in indices),
            like=None,
            package_version="0",
            copied_slices={
                case: slice_digests(self.taken(case), axis, indices)
                for case, indices in before.items()
                if case in chosen
            },
            image_checksums={file.name: checksum(file) for case in chosen for file in self.image_files(case)},
            labels=dict(labels),
            drafts={case: slice_digests(draft, axis, chosen[case]) for case, draft in (drafts or {}).items()},
        )
        self.labels.mkdir()
        write_suggestion(suggestion, self.work)
        for case, indices in chosen.items():
            existing = self.taken(case) if case in before else None
            to_draw_in = labels_to_draw_in(SHAPE, axis, indices, IGNORE, existing)
            if drafts is not None and case in drafts:
                np.moveaxis(to_draw_in, axis, 0)[indices] = np.moveaxis(drafts[case], axis, 0)[indices]
            self.write(case, to_draw_in)

    def draw(self, chosen: Mapping[str, Sequence[int]], axis: int = 0) -> None:
        """Draws the truth into the chosen slices, and saves with SimpleITK."""
        for case, indices in chosen.items():
            labels = self.drawn(case)
            for index in indices:
                np.moveaxis(labels, axis, 0)[index] = np.moveaxis(self.truth(case), axis, 0)[index]
            self.write(case, labels)

    def drawn(self, case: str) -> np.ndarray:
        return self.reader().read(self.labels / f"{case}.nii.gz").labels

    def write(self, case: str, labels: np.ndarray, name: str | None = None, dtype: type = np.uint8) -> Path:
        """Writes a label file with the geometry of the case's image."""
        path = self.labels / (name or f"{case}.nii.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        volume = SimpleITK.GetImageFromArray(labels.astype(dtype))
        volume.CopyInformation(SimpleITK.ReadImage(str(self.image_files(case)[0])))
        SimpleITK.WriteImage(volume, str(path))
        return path

    def prepare(self, chosen: Mapping[str, Sequence[int]], **options) -> None:
        """A work folder with finished labels."""
        self.suggest(chosen, **options)
        self.draw(chosen, options.get("axis", 0))

    def collect(self, **options):
        return collect(DATASET, self.labels, **options)

    def contents(self) -> dict[str, bytes]:
        """All files of the raw and the preprocessed dataset; of preprocessed images the voxels."""
        files = [path for folder in (self.raw, self.preprocessed) for path in folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.root)): content_of(path) for path in files if path.suffix != ".lock"}


def content_of(path: Path) -> bytes:
    """What a file says: blosc2 writes the same voxels with other bytes in between each time, pickle its own way."""
    if path.suffix == ".b2nd":
        return blosc2.open(str(path), mode="r")[:].tobytes()
    return repr(load_pickle(str(path))).encode() if path.suffix == ".pkl" else path.read_bytes()


def correct(scans: Scans, case: str, index: int, value: int = 2) -> np.ndarray:
    """Somebody corrects a slice in the dataset, and not in the work folder.

    Returns:
        The labels of the dataset.
    """
    volume = scans.reader().read(scans.raw / "labelsTr" / f"{case}.nii.gz")
    volume.labels[index, :2] = value
    scans.reader().write(volume.labels, scans.raw / "labelsTr" / f"{case}.nii.gz", volume.properties)
    return volume.labels


def without_digests(scans: Scans) -> None:
    """Makes work folder and record those of an earlier version."""
    suggestion = read_json(scans.work / "suggestion.json")
    for name in LATER_FIELDS:
        suggestion.pop(name, None)
    write_json(suggestion, scans.work / "suggestion.json")
    for folder in (scans.raw, scans.preprocessed):
        content = read_json(folder / "annotations.json")
        for entry in content["rounds"]:
            for name in LATER_FIELDS:
                entry["suggestion"].pop(name, None)
            for taken in entry["cases"].values():
                del taken["digests"]
        write_json(content, folder / "annotations.json")
