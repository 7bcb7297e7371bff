"""Which images are drawn beside the labeled ones, and how often: no patient of the validation set, all others alike."""

import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planned_dataset import DATASET, environment_of

from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase
from nnunet_pix2rep.nnunet.loading.fold_cases import pretraining_cases
from nnunet_pix2rep.nnunet.loading.training_images import draw_probabilities
from nnunet_pix2rep.nnunet.patients.split_files import RECORD_FILE
from nnunet_pix2rep.nnunet.unlabeled.pool import Pool, PoolImage
from nnunet_pix2rep.nnunet.unlabeled.pool_patients import patients_with_pool

PATIENTS = st.lists(st.sampled_from("ABCDEFG"), min_size=1, max_size=12)


def write_pool(folder: Path, images: dict[str, PoolImage]) -> None:
    Pool(folder / "nnUNetPlans_2d_unlabeled", {}, images).write()


@st.composite
def datasets(draw):
    """Patients of labeled cases and of pool images, how the latter are known, and validation cases."""
    labeled = {f"{patient}_scan{i}": patient for i, patient in enumerate(draw(PATIENTS))}
    unlabeled = {}
    for i, patient in enumerate(draw(PATIENTS)):
        frames = draw(st.integers(0, 3))
        raw_case = f"{patient}_cine{i}"
        names = [f"{raw_case}_frame{frame:02d}" for frame in range(1, frames + 1)] or [raw_case]
        unlabeled |= {name: (raw_case, patient, bool(frames)) for name in names}
    validation = draw(st.lists(st.sampled_from(sorted(labeled)), min_size=1, unique=True))
    source = draw(st.sampled_from(["patients.json by raw case", "patients.json by image", "regex", "other dataset"]))
    return labeled, unlabeled, validation, source


def write_dataset(folder: Path, labeled, unlabeled, source) -> None:
    images = {
        name: PoolImage(
            raw_case, "there", {}, 0, 1 if is_frame else None, patient if source == "other dataset" else None
        )
        for name, (raw_case, patient, is_frame) in unlabeled.items()
    }
    write_pool(folder, images)
    if source == "regex":
        record = {case: {"patient": patient, "group": None} for case, patient in labeled.items()}
        content = {
            "format_version": 1,
            "settings": {"patients_from": "regular expression ([A-Z])_.*"},
            "patients": record,
        }
        write_json(content, folder / RECORD_FILE)
        return
    listed = dict(labeled)
    if source == "patients.json by raw case":
        listed |= {raw_case: patient for raw_case, patient, _ in unlabeled.values()}
    elif source == "patients.json by image":
        listed |= {name: patient for name, (_, patient, _) in unlabeled.items()}
    write_json({case: {"patient": patient} for case, patient in listed.items()}, folder / "patients.json")


@given(datasets())
@settings(max_examples=60)
def test_no_image_of_a_validation_patient_is_drawn_and_all_patients_equally_often(dataset):
    labeled, unlabeled, validation, source = dataset
    patient_of = labeled | {name: patient for name, (_, patient, _) in unlabeled.items()}
    with tempfile.TemporaryDirectory() as root, environment_of(Path(root)):
        folder = Path(root) / "nnUNet_preprocessed" / DATASET
        folder.mkdir(parents=True)
        write_dataset(folder, labeled, unlabeled, source)
        chosen = pretraining_cases(patient_of, validation, folder)
        held_out = {labeled[case] for case in validation}
        assert chosen == sorted(case for case, patient in patient_of.items() if patient not in held_out)
        if not chosen:
            return
        probabilities = draw_probabilities([ImageCase(case, "") for case in chosen], folder)
    by_patient = defaultdict(list)
    for case, probability in zip(chosen, probabilities, strict=True):
        by_patient[patient_of[case]].append(probability)
    for shares in by_patient.values():
        assert sum(shares) == pytest.approx(1 / len(by_patient))
        assert min(shares) == max(shares)


def test_frames_of_an_unlisted_cine_are_of_one_patient_and_named_as_acdc_of_that_patient(tmp_path):
    folder = tmp_path / "nnUNet_preprocessed" / DATASET
    write_pool(
        folder,
        {
            "cine_frame01": PoolImage("cine", "there", {}, 0, 1),
            "cine_frame02": PoolImage("cine", "there", {}, 0, 2),
            "patient007_frame05": PoolImage("patient007_frame05", "there", {}, 0),
            "Dataset999_Other_scan_1": PoolImage("scan_1", "there", {}, 0),
        },
    )
    with environment_of(tmp_path):
        cases = ["cine_frame01", "cine_frame02", "patient007_frame05", "Dataset999_Other_scan_1", "scan_1"]
        patients = patients_with_pool(folder, cases)
    assert [patients[case].name for case in cases] == ["cine", "cine", "patient007", "scan_1", "scan_1"]
