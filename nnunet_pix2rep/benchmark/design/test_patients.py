"""The cases that every method is tested on: patients of the dataset, or a folder of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.raw_images import list_raw_cases
from nnunet_pix2rep.nnunet.patients.patients import PATIENTS_FILE, Patient, read_patients
from nnunet_pix2rep.nnunet.unlabeled.pool_patients import PatientLookup

SUBFOLDERS = (("imagesTs", "labelsTs"), ("imagesTr", "labelsTr"), ("images", "labels"))


@dataclass(frozen=True)
class TestSet:
    """What is predicted and compared with what.

    Attributes:
        patients: Case -> name of its patient.
        labels: Folder of the references, in the original geometry.
        images: Folder of the images; None where the raw data is not on this machine.
        has_own_images: Whether ``nnUNetv2_predict`` has to predict the images. Otherwise the cases are the validation
            set of every fold, which ``nnUNetv2_train`` predicts at its end, with the final weights.
    """

    __test__ = False  # pytest: this is no test

    patients: dict[str, str]
    labels: Path
    images: Path | None
    has_own_images: bool

    @property
    def held_out(self) -> set[str]:
        """Names of the test patients and of their cases.

        An unlabeled image that is named like a test case is that patient's, whatever ``patients.json`` of a test folder
        calls the patient.
        """
        return {*self.patients.values(), *self.patients}

    @property
    def images_to_predict(self) -> Path | None:
        """Folder of the images that ``nnUNetv2_predict`` has to predict; None where there are none."""
        return self.images if self.has_own_images else None


def read_test_folder(
    folder: Path, dataset_folder: Path, training: Mapping[str, Patient], patient_regex: str | None
) -> TestSet:
    """The test set in a folder with ``imagesTs`` and ``labelsTs`` (see :data:`SUBFOLDERS`), named as in nnU-Net.

    Patients come from the regular expression, from ``patients.json`` in the folder or of the dataset, or from the names
    of the cases.

    Args:
        folder: The folder.
        dataset_folder: The dataset's folder in ``nnUNet_preprocessed``.
        training: The patient of every case of the dataset.
        patient_regex: See :func:`nnunet_pix2rep.nnunet.patients.patients.read_patients`.

    Raises:
        UserError: there is no image, a label or a channel is missing, or a test patient is one of the dataset's.
    """
    dataset_json = read_json(dataset_folder / "dataset.json")
    ending, num_channels = dataset_json["file_ending"], len(dataset_json["channel_names"])
    images, labels = _subfolders(folder)
    cases = list_raw_cases(images, ending)
    if not cases:
        raise UserError(f"{images} has no images named CASE_0000{ending}, as nnU-Net's dataset.json asks for.")
    without_label = [case for case in cases if not (labels / f"{case}{ending}").is_file()]
    incomplete = [case for case, files in cases.items() if len(files) != num_channels]
    for names, problem in (
        (without_label, f"have no label in {labels}"),
        (incomplete, f"do not have the dataset's {num_channels} channel(s)"),
    ):
        if names:
            raise UserError(f"These test cases {problem}: {shorten(names)}.")
    patients = _patients(sorted(cases), folder, dataset_folder, patient_regex)
    _check_overlap(patients, training, folder)
    return TestSet(patients, labels, images, has_own_images=True)


def _subfolders(folder: Path) -> tuple[Path, Path]:
    if not folder.is_dir():
        raise UserError(
            f"--test {folder} is no folder. It takes a folder with imagesTs and labelsTs, or a number of patients "
            "(such as 10) or a part of them (such as 0.3)."
        )
    for images, labels in SUBFOLDERS:
        if (folder / images).is_dir() and (folder / labels).is_dir():
            return folder / images, folder / labels
    alternatives = " or ".join(" and ".join(pair) for pair in SUBFOLDERS)
    raise UserError(f"--test {folder} must hold the folders {alternatives}.")


def _patients(cases: list[str], folder: Path, dataset_folder: Path, patient_regex: str | None) -> dict[str, str]:
    if patient_regex is not None:
        return {case: patient.name for case, patient in read_patients(cases, None, patient_regex).items()}
    if (folder / PATIENTS_FILE).is_file():
        return {case: patient.name for case, patient in read_patients(cases, folder / PATIENTS_FILE).items()}
    found = PatientLookup(dataset_folder).find([(case,) for case in cases])
    by_name = read_patients(cases)
    return {case: (patient or by_name[case]).name for case, patient in zip(cases, found, strict=True)}


def _check_overlap(patients: Mapping[str, str], training: Mapping[str, Patient], folder: Path) -> None:
    cases = sorted(patients.keys() & training.keys())
    if cases:
        raise UserError(f"Cases in {folder} are cases of the dataset too: {shorten(cases)}. Test on others.")
    names = {patient.name for patient in training.values()}
    overlapping = sorted(set(patients.values()) & names)
    if overlapping:
        raise UserError(
            f"Patients of the test cases in {folder} are patients of the dataset too: {shorten(overlapping)}. Test on "
            "others, or take these out of the dataset."
        )


def shorten(names: Sequence[str], limit: int = 5) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
