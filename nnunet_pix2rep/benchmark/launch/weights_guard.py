"""Weights that are handed in, before anything runs: a leak guard, and that they stay the same.

nnU-Net's training has a leak guard of its own (nnunet/checkpoints/leak_guard.py), but knows no test patients outside
the fold, and would refuse only when its turn comes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from nnunet_pix2rep.benchmark.design.layout import BenchmarkFolder
from nnunet_pix2rep.benchmark.design.linked_dataset import expression_of_patients
from nnunet_pix2rep.benchmark.design.methods import WEIGHTS_PREFIX, Method
from nnunet_pix2rep.benchmark.design.test_patients import shorten
from nnunet_pix2rep.benchmark.launch.record import UserDataset
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import checksum
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.checkpoints.leak_guard import ALLOW_TRANSDUCTIVE_VARIABLE, seen_cases
from nnunet_pix2rep.nnunet.unlabeled.pool import PoolImage
from nnunet_pix2rep.nnunet.unlabeled.pool_patients import images_of_pools, listed_names, patients_with_pool


def check_weights(file: Path, dataset: UserDataset, dataset_name: str, patient_regex: str | None) -> None:
    """Refuses weights that have seen images of a test patient, or of the patient whom nnU-Net validates on.

    Args:
        file: The checkpoint. One that this package did not write carries no list of cases and passes.
        dataset: The user's dataset with the test set.
        dataset_name: nnU-Net's name of the dataset.
        patient_regex: The benchmark's.

    Raises:
        UserError: the weights have seen such images, and ``nnUNet_pix2rep_allow_transductive=1`` does not allow it.
    """
    seen = seen_cases(load_checkpoint_file(file).get(RECORD_KEY, {}), dataset_name)
    if not seen or os.environ.get(ALLOW_TRANSDUCTIVE_VARIABLE) == "1":
        return
    held_out = {*dataset.drawn[0].validation_patients, *dataset.test_set.held_out}
    leaked = sorted(held_out & _patients_in(seen, dataset, patient_regex))
    if leaked:
        raise UserError(
            f"The weights in {file} have seen images of the patients {shorten(leaked)}, on whom this benchmark tests "
            "or nnU-Net validates. The results would not be those of unseen patients. Take weights that have not seen "
            f"them, or set {ALLOW_TRANSDUCTIVE_VARIABLE}=1 if that is what you want."
        )


def weights_record(methods: Sequence[Method], folder: BenchmarkFolder) -> dict[str, str]:
    """SHA-256 of each file of weights by the name of its method, with those of earlier starts.

    Folders of earlier versions have none: they get those of the files that are there now.

    Raises:
        UserError: a file is not the one that the benchmark was begun with.
    """
    earlier = (folder.read_record() or {}).get("weights", {})
    now = {method.name: checksum(method.weights) for method in methods if method.weights is not None}
    changed = sorted(name for name in earlier.keys() & now.keys() if earlier[name] != now[name])
    if changed:
        raise UserError(
            f"The weights in {', '.join(name.removeprefix(WEIGHTS_PREFIX) for name in changed)} have been replaced "
            f'since this benchmark was begun with them (SHA-256 under "weights" in {folder.record_file}). Its draws '
            "would be of different weights. Put the file of then back and name the other one differently, which makes "
            "it a method of its own, or choose another folder with -o."
        )
    return {**earlier, **now}


def _patients_in(cases: Collection[str], dataset: UserDataset, patient_regex: str | None) -> set[str]:
    """Names of the patients whom cases show, labeled or of the pool, as the benchmark tells patients apart."""
    images = images_of_pools(dataset.folder)
    source = expression_of_patients(dataset.folder, patient_regex)
    expression = None if source is None else re.compile(source)
    found = {case: _known_patient(case, images, dataset, expression) for case in cases}
    others = patients_with_pool(dataset.folder, sorted(case for case, name in found.items() if name is None))
    return {name for name in found.values() if name is not None} | {patient.name for patient in others.values()}


def _known_patient(
    case: str, images: Mapping[str, PoolImage], dataset: UserDataset, expression: re.Pattern[str] | None
) -> str | None:
    """The patient by the labeled case of the same name or by the expression; None: neither knows."""
    image = images.get(case)
    if image is not None and image.dataset is not None:
        return None
    for name in (case,) if image is None else listed_names(case, image):
        if name in dataset.patients:
            return dataset.patients[name].name
        if expression is not None and (match := expression.match(name)) is not None and match[1]:
            return match[1]
    return None
