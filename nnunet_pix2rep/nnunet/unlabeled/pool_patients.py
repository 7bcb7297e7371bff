"""Patients of unlabeled images, so that no image of a validation or test patient is trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.dataset_folders import raw_folder
from nnunet_pix2rep.nnunet.data.raw_images import list_raw_cases
from nnunet_pix2rep.nnunet.patients.patients import Patient, find_patients_file, read_patients, read_records
from nnunet_pix2rep.nnunet.patients.split_files import known_patients, split_expression
from nnunet_pix2rep.nnunet.unlabeled.pool import SUFFIX, PoolImage, read_pool


class PatientLookup:
    """Patients of images that ``patients.json`` need not list.

    A regular expression that the dataset's folds were made with comes first, then ``patients.json``.
    """

    def __init__(self, dataset_folder: Path):
        self._file = find_patients_file(raw_folder(dataset_folder.name), dataset_folder)
        self._listed = set(read_records(self._file)) if self._file is not None else set()
        self._expression = split_expression(dataset_folder)

    def find_images(self, images: Mapping[str, PoolImage]) -> list[Patient | None]:
        """For each image of a pool the patient, or None; the regular expression is for the pool's own dataset."""
        names = [listed_names(name, image) for name, image in images.items()]
        by_file = self._by_file(names)
        return [
            self._find(alternatives, by_file, image.dataset is None)
            for alternatives, image in zip(names, images.values(), strict=True)
        ]

    def find(self, names: Sequence[Sequence[str]]) -> list[Patient | None]:
        """For each image the patient by the first of its names that is known, or None."""
        by_file = self._by_file(names)
        return [self._find(alternatives, by_file) for alternatives in names]

    def _by_file(self, names: Sequence[Sequence[str]]) -> dict[str, Patient]:
        wanted = {name for alternatives in names for name in alternatives if name in self._listed}
        return read_patients(wanted, self._file) if wanted else {}

    def by_expression(self, name: str) -> Patient | None:
        """The patient by the regular expression of the folds alone."""
        match = self._expression.match(name) if self._expression is not None else None
        return Patient(match[1]) if match is not None and match[1] else None

    def _find(
        self, alternatives: Sequence[str], by_file: Mapping[str, Patient], use_expression: bool = True
    ) -> Patient | None:
        for name in alternatives if use_expression else ():
            if (patient := self.by_expression(name)) is not None:
                return patient
        return next((by_file[name] for name in alternatives if name in by_file), None)


def listed_names(identifier: str, image: PoolImage) -> tuple[str, ...]:
    """Names under which ``patients.json`` of the pool's dataset may list an image.

    The name of the raw case is not among them for images of another dataset: ``case_001`` is somebody else there.
    """
    if image.dataset is None:
        return identifier, image.raw_case
    return identifier, f"{image.dataset}_{image.raw_case}"


def pool_patients(dataset_folder: Path, images: Mapping[str, PoolImage]) -> dict[str, Patient]:
    """The patient of every image of a pool.

    Known by the folds' regular expression, by the dataset's ``patients.json`` (see :func:`listed_names`), or by the
    ``patients.json`` of the dataset that the image comes from; otherwise by the name of the raw case, so that all
    frames of a cine are of one patient. Names of another dataset's cases are only compared with each other: the
    patient gets the dataset's name in front.
    """
    lookup = PatientLookup(dataset_folder)
    found = lookup.find_images(images)
    by_name = read_patients({image.raw_case for image in images.values()})
    return {
        name: patient or _patient_by_name(image, lookup, by_name)
        for (name, image), patient in zip(images.items(), found, strict=True)
    }


def _patient_by_name(image: PoolImage, lookup: PatientLookup, by_name: Mapping[str, Patient]) -> Patient:
    if image.patient:
        return Patient(image.patient)
    if image.dataset is None:
        return by_name[image.raw_case]
    matched = lookup.by_expression(image.raw_case) or by_name[image.raw_case]
    return Patient(f"{image.dataset}_{matched.name}")


def images_of_pools(dataset_folder: Path) -> dict[str, PoolImage]:
    """Identifier -> unlabeled image, of all configurations of a dataset."""
    records = (read_pool(path.with_suffix("")) for path in sorted(dataset_folder.glob(f"*{SUFFIX}.json")))
    return {name: image for pool in records if pool is not None for name, image in pool.images.items()}


def patients_with_pool(dataset_folder: Path, cases: Iterable[str]) -> dict[str, Patient]:
    """The patient of every case, labeled or of the pool of any configuration of the dataset.

    An image of the pool's own dataset whose raw case bears the name of one of the labeled cases is taken for the same
    patient.
    """
    cases = list(cases)
    images = images_of_pools(dataset_folder)
    patients = known_patients(dataset_folder, [case for case in cases if case not in images])
    unlabeled = {case: images[case] for case in cases if case in images}
    by_pool = pool_patients(dataset_folder, unlabeled)
    same_name = {case: patients.get(image.raw_case) for case, image in unlabeled.items() if image.dataset is None}
    return patients | {case: same_name.get(case) or by_pool[case] for case in unlabeled}


def patients_of_test_set(dataset_folder: Path) -> set[str]:
    """Names of the patients in ``imagesTs``, none where the raw dataset is not on this machine."""
    raw = raw_folder(dataset_folder.name)
    if raw is None:
        return set()
    cases = sorted(list_raw_cases(raw / "imagesTs", read_json(raw / "dataset.json")["file_ending"]))
    by_name = read_patients(cases)
    found = PatientLookup(dataset_folder).find([(case,) for case in cases])
    return {(patient or by_name[case]).name for case, patient in zip(cases, found, strict=True)}
