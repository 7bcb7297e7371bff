"""The raw dataset that labels are taken into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from nnunet_pix2rep.annotation.image_copies import changed_files
from nnunet_pix2rep.annotation.label_files import LabelFiles, ignore_label_of
from nnunet_pix2rep.annotation.work_folder import IMAGES, LABELS, SUGGESTION, Suggestion, read_suggestion
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.dataset_folders import dataset_name_of, preprocessed_folder, raw_folder
from nnunet_pix2rep.nnunet.data.raw_images import list_raw_cases, number_of_frames
from nnunet_pix2rep.nnunet.patients.patients import read_patients
from nnunet_pix2rep.nnunet.unlabeled.namesakes import differing_namesakes
from nnunet_pix2rep.nnunet.unlabeled.pool_patients import PatientLookup, patients_of_test_set
from nnunet_pix2rep.nnunet.unlabeled.selection import UNLABELED_FOLDER


@dataclass(frozen=True)
class RawDataset:
    """A raw dataset whose cases lie in ``imagesTr`` and ``imagesUn``.

    Attributes:
        name: nnU-Net's name of it.
        folder: Its folder in ``nnUNet_raw``.
        preprocessed: Its folder in ``nnUNet_preprocessed``; None: nothing is planned yet.
        dataset_json: Content of ``dataset.json``.
        patients: Case -> patient, as the work folder has it.
        copies: Case -> its image files in the work folder, for cases that have none of their own in the dataset.
        copied_again: Case -> the file that its image was copied from again, where the copy there was of no use.
        image_checksums: Name of an image file -> its checksum when it was suggested.
    """

    name: str
    folder: Path
    preprocessed: Path | None
    dataset_json: dict[str, Any]
    patients: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, list[Path]] = field(default_factory=dict)
    copied_again: Mapping[str, Path] = field(default_factory=dict)
    image_checksums: Mapping[str, str] = field(default_factory=dict)

    @property
    def ending(self) -> str:
        """File ending of images and labels."""
        return self.dataset_json["file_ending"]

    @property
    def ignore_label(self) -> int | None:
        """nnU-Net's ignore label, None where there is none."""
        return ignore_label_of(self.dataset_json)

    @property
    def num_channels(self) -> int:
        """Number of channels."""
        channels = self.dataset_json.get("channel_names") or self.dataset_json["modality"]
        return len(channels)

    @cached_property
    def images(self) -> dict[str, list[Path]]:
        """Case -> its image files. A case that an interrupted run has left in two folders counts where it is whole."""
        found = {**self.copies, **self.cases_in(UNLABELED_FOLDER)}
        for case, files in self.cases_in("imagesTr").items():
            if len(files) >= len(found.get(case, [])):
                found[case] = files
        return found

    def cases_in(self, folder: str) -> dict[str, list[Path]]:
        """Case -> its files in one of the folders of images."""
        return list_raw_cases(self.folder / folder, self.ending)

    def label_file(self, case: str) -> Path:
        """Where the labels of a case lie or will lie."""
        return self.folder / "labelsTr" / f"{case}{self.ending}"

    def patients_of(self, cases: Iterable[str]) -> dict[str, str]:
        """Case -> patient: by the folds' expression or ``patients.json``, the work folder, or the name of the case."""
        by_name = read_patients(cases)
        found = PatientLookup(self.preprocessed or self.folder).find([(case,) for case in by_name])
        known = {case: patient.name for case, patient in zip(by_name, found, strict=True) if patient is not None}
        return {case: known.get(case) or self.patients.get(case) or patient.name for case, patient in by_name.items()}

    def reader(self, plans_name: str | None) -> LabelFiles:
        """nnU-Net's reader by the plans; without plans the one that it chooses for the file ending."""
        plans = self.preprocessed / f"{plans_name or 'nnUNetPlans'}.json" if self.preprocessed is not None else None
        name = read_json(plans)["image_reader_writer"] if plans is not None and plans.is_file() else None
        return LabelFiles(self.dataset_json, name)

    def check_cases(self, cases: Iterable[str]) -> dict[str, str]:
        """Case -> what forbids to annotate it, for those of these cases where anything does."""
        cases, tests, problems = list(cases), self.cases_in("imagesTs"), {}
        patients, of_test = self.patients_of(cases), patients_of_test_set(self.preprocessed or self.folder)
        namesakes = differing_namesakes(self.folder, self.ending, cases)
        for case in cases:
            if case in tests:
                problems[case] = f"{case} is a test case: its image is in imagesTs too."
            elif patients[case] in of_test and not self.label_file(case).is_file():
                problems[case] = f"{case} is of a test patient: imagesTs has an image of {patients[case]} too."
            elif case not in self.images:
                problems[case] = f"{case} has no image in imagesTr or {UNLABELED_FOLDER} of {self.name}."
            elif number_of_frames(self.images[case][0], len(self.images[case]), self.num_channels) is not None:
                problems[case] = f"{case} is a 4D file: bring its frames in one by one to annotate them."
            elif case in namesakes:
                problems[case] = (
                    f"{case} has two images: {namesakes[case]} in imagesTr and in {UNLABELED_FOLDER} are not the same. "
                    "Rename one of them, or move it away."
                )
            elif changed := changed_files(self.images[case], self.image_checksums):
                copy = "" if case in self.copies else f", of which {IMAGES}/ of the work folder has a copy"
                problems[case] = (
                    f"{case} was suggested with another image: {changed[0]} was changed or replaced since. Bring the "
                    f"old one back{copy}, or draw in a new suggestion."
                )
        return problems


def open_dataset(dataset_name_or_id: str | int) -> RawDataset:
    """Finds the dataset.

    Raises:
        UserError: it is not in ``nnUNet_raw``, or its ``dataset.json`` lists its cases itself.
    """
    name = dataset_name_of(dataset_name_or_id)
    raw = raw_folder(name)
    if raw is None:
        raise UserError(f"The raw dataset {name} with its dataset.json is not in the folder that nnUNet_raw names.")
    dataset_json = read_json(raw / "dataset.json")
    if "dataset" in dataset_json:
        raise UserError(
            f'{raw / "dataset.json"} lists the training cases under the key "dataset", so nnU-Net would not see what '
            "is put into imagesTr and labelsTr. Add the cases to that list yourself, or copy the files into these "
            "folders and delete the key."
        )
    try:
        preprocessed = preprocessed_folder(name)
    except UserError:
        preprocessed = None  # nothing to preprocess then; the plans come later
    return RawDataset(name, raw, preprocessed, dataset_json)


def find_suggestion(folder: Path, dataset_name: str) -> tuple[Path, Suggestion | None]:
    """The folder of labels, and the suggestion in the folder above it, if there is one.

    Args:
        folder: The folder of labels, or the work folder that holds it. It may be a symbolic link: the suggestion is
            beside the link, or else beside what the link leads to.
        dataset_name: nnU-Net's name of the dataset.

    Raises:
        UserError: the suggestion is for another dataset, or malformed.
    """
    named = folder.expanduser().absolute()  # unlike resolve, it does not follow links
    if (named / SUGGESTION).is_file() and (named / LABELS).is_dir():
        named = named / LABELS
    places = (named, named.resolve())
    folder = next((place for place in places if (place.parent / SUGGESTION).is_file()), places[-1])
    if not (folder.parent / SUGGESTION).is_file():
        return folder, None
    suggestion = read_suggestion(folder.parent)
    if suggestion.dataset != dataset_name:
        raise UserError(f"{folder.parent / SUGGESTION} is for {suggestion.dataset}, not for {dataset_name}.")
    return folder, suggestion
