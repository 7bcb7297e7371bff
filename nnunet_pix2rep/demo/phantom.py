"""A synthetic short-axis cine MRI: two phases of patients who differ in anatomy, surroundings and appearance.

Small enough for a CPU, yet no toy: bright vessels, a stomach that looks like a ventricle, varying contrast, bias fields
and noise stand between one labeled patient and a good segmentation. Labels as in nnU-Net's conversion of ACDC: 1 right
ventricle, 2 myocardium of the left ventricle, 3 its cavity.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import SimpleITK

from nnunet_pix2rep.demo.body.heart import GROUPS, Heart, at_end_systole, cut_heart, draw_heart
from nnunet_pix2rep.demo.body.thorax import Scanner, Thorax, draw_scanner, draw_thorax, scan, tissue_map
from nnunet_pix2rep.nnunet.data.raw_dataset_writer import Case, DatasetDescription, write_raw_dataset

DATASET_ID = 900
DEFAULT_PATIENTS = 24
PHASES = ("ED", "ES")
OVERSAMPLING = 2
TO_MIDDLE = 12  # mm from the LV, which the geometry starts from, to the middle of both ventricles
DESCRIPTION = DatasetDescription(
    name="CardiacPhantom",
    channel_name="MRI",
    labels={"background": 0, "RV": 1, "MLV": 2, "LVC": 3},
    reference="nnunet_pix2rep demo",
    license="Apache-2.0",
    description="Synthetic short-axis cardiac cine MRI at end-diastole (ED) and end-systole (ES)",
)


@dataclass(frozen=True)
class PhantomPatient:
    """Everything about one patient that both phases share.

    Attributes:
        group: Pathology, one of ``heart.GROUPS``.
        shape: Number of slices, rows and columns.
        spacing: Between slices, rows and columns, in mm.
        rotation: Of the whole body in the image, radians.
        shift: Of the LV from the center of the image, (x, y) in mm.
        misalignment: Shift of the heart between breath holds, shape (slices, 2), in mm.
    """

    group: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    rotation: float
    shift: tuple[float, float]
    misalignment: np.ndarray
    heart: Heart
    thorax: Thorax
    scanner: Scanner


def draw_patient(seed: int, number: int) -> PhantomPatient:
    """Draws the patient of a given number; the groups take turns."""
    generator = np.random.default_rng([seed, number])
    group = list(GROUPS)[number % len(GROUPS)]
    num_slices = int(generator.integers(6, 9))
    in_plane = generator.uniform(1.25, 1.4)
    heart = draw_heart(group, generator)
    return PhantomPatient(
        group=group,
        shape=(num_slices, int(generator.integers(94, 101)), int(generator.integers(94, 101))),
        spacing=(round(generator.uniform(8, 10), 2), round(in_plane, 3), round(in_plane, 3)),
        rotation=generator.normal(0, 0.2),
        shift=tuple(
            generator.uniform(-10, 10, 2) - TO_MIDDLE * np.array([np.cos(heart.rv_angle), np.sin(heart.rv_angle)])
        ),
        misalignment=generator.normal(0, 1.0, (num_slices, 2)),
        heart=heart,
        thorax=draw_thorax(generator),
        scanner=draw_scanner(generator),
    )


@lru_cache(maxsize=1)  # the image and the label of a case are asked for one after the other
def make_frame(seed: int, number: int, phase: str) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """Makes one frame of a patient.

    Args:
        seed: Of the whole dataset.
        number: The patient.
        phase: ``ED`` or ``ES``.

    Returns:
        Image (float32) and label (uint8), both of shape (slices, rows, columns), and the spacing in the same order, mm.
    """
    patient = draw_patient(seed, number)
    generator = np.random.default_rng([seed, number, PHASES.index(phase)])
    heart = patient.heart if phase == "ED" else at_end_systole(patient.heart)
    shortening = 0.0 if phase == "ED" else heart.shortening
    images, labels = [], []
    for index in range(patient.shape[0]):
        t = 0.04 + 0.9 * index / (patient.shape[0] - 1)
        heart_t = (t - shortening) / (1 - shortening)
        moved = patient.misalignment[index]
        fine_x, fine_y = _points(patient, OVERSAMPLING)
        fine = cut_heart(heart, heart_t, fine_x - moved[0], fine_y - moved[1])
        tissue = tissue_map(patient.thorax, fine, t, fine_x, fine_y, generator)
        images.append(scan(tissue, patient.scanner, OVERSAMPLING, generator))
        x, y = _points(patient, 1)
        labels.append(cut_heart(heart, heart_t, x - moved[0], y - moved[1]).label)
    return np.stack(images), np.stack(labels), patient.spacing


def _points(patient: PhantomPatient, oversampling: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (x, y) of the voxel centers of a slice in the frame of the heart, in mm."""
    rows, columns = (
        (np.arange(length * oversampling) + 0.5 - length * oversampling / 2) * width / oversampling
        for length, width in zip(patient.shape[1:], patient.spacing[1:], strict=True)
    )
    y, x = np.meshgrid(rows, columns, indexing="ij")
    x, y = x - patient.shift[0], y - patient.shift[1]
    cosine, sine = np.cos(patient.rotation), np.sin(patient.rotation)
    return x * cosine + y * sine, y * cosine - x * sine


def _volume(seed: int, number: int, phase: str, wants_label: bool) -> SimpleITK.Image:
    image, label, spacing = make_frame(seed, number, phase)
    volume = SimpleITK.GetImageFromArray(label if wants_label else image)
    volume.SetSpacing(spacing[::-1])
    return volume


def write_phantom(raw_folder: Path, seed: int = 0, num_patients: int = DEFAULT_PATIENTS) -> Path:
    """Writes the phantom as a raw nnU-Net dataset, with ``patients.json``, and returns its folder.

    Raises:
        UserError: the folder holds another dataset.
    """
    cases = [
        Case(
            name=f"patient{number:03d}_{phase}",
            subset="Tr",
            patient=f"patient{number:03d}",
            group=draw_patient(seed, number).group,
            image=partial(_volume, seed, number, phase, wants_label=False),
            label=partial(_volume, seed, number, phase, wants_label=True),
        )
        for number in range(num_patients)
        for phase in PHASES
    ]
    return write_raw_dataset(cases, DESCRIPTION, DATASET_ID, raw_folder)


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the phantom from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", type=Path, required=True, metavar="FOLDER", help="nnU-Net's raw folder")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything (default: %(default)s)")
    parser.add_argument(
        "--patients", type=int, default=DEFAULT_PATIENTS, help="number of patients (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)
    write_phantom(arguments.o, arguments.seed, arguments.patients)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
