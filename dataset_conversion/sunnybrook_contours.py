"""The original Sunnybrook data: DICOM images, and contours of the left-ventricular cavity as text.

- ``SCD_ManualContours/SC-HF-I-01/contours-manual/IRCCI-expert/IM-0001-NNNN-icontour-manual.txt``: the inner contour, an
  ``x y`` pair of pixel coordinates per line. The data does not say where they count from; as most users of the data do,
  0 is taken as the center of the first pixel. (The PNG export cuts off the decimals and includes the contour itself:
  its masks are up to a pixel larger.)
- ``SCD_IMAGES_*/SCD0000101/CINESAX_*/IM-XXXX-NNNN.dcm``: the short-axis cine; NNNN is that of the contour.
- ``scd_patientdata.csv``: PatientID (SCD0000101) and OriginalID (SC-HF-I-1, without leading zero) of each patient.

Slice positions and spacing come from the DICOM headers, the cardiac phase from the order of the images of a position.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK
from skimage.draw import polygon2mask
from tqdm import tqdm

from nnunet_pix2rep.dataset_conversion.cardiac_phases import name_phases
from nnunet_pix2rep.dataset_conversion.cine_series import CineSeries, find_series, read_series
from nnunet_pix2rep.dataset_conversion.source_files import read_table
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.raw_dataset_writer import Case

CONTOUR_FOLDER = Path("contours-manual") / "IRCCI-expert"
CONTOUR_NAME = re.compile(r"IM-\d{4}-(\d{4})-icontour-manual\.txt")
PATIENT_NAME = re.compile(r"(?P<group>SC(?:-[A-Z]+)+)-(?P<number>\d+)")


def cases_from_contours(source: Path, warnings: list[str]) -> list[Case]:
    """End-diastole and end-systole of each patient, and all other phases as unlabeled cases.

    Args:
        source: folder with ``SCD_ManualContours/``, ``SCD_IMAGES_*/`` and ``scd_patientdata.csv``.
        warnings: gets a line for each patient or slice that is left out.

    Raises:
        UserError: the table, an image of a contour or a slice is missing, or a file is damaged.
    """
    dicom_names = read_patient_table(source / "scd_patientdata.csv")
    folders = [path for path in sorted((source / "SCD_ManualContours").glob("SC-*")) if path.is_dir()]
    cases: list[Case] = []
    for folder in tqdm(folders, desc="Reading DICOM headers", unit="patient"):
        patient, _ = parse_patient(folder.name, folder)
        if patient not in dicom_names:
            raise UserError(f"{folder} has no row in {source / 'scd_patientdata.csv'}: complete the table.")
        image_folders = [*source.glob(f"SCD_IMAGES_*/{dicom_names[patient]}"), *source.glob(dicom_names[patient])]
        if not image_folders:
            warnings.append(f"{folder} has no images SCD_IMAGES_*/{dicom_names[patient]}: skipped.")
            continue
        cases += patient_cases(folder, image_folders[0], warnings)
    return cases


def parse_patient(name: str, where: Path) -> tuple[str, str]:
    """Patient name with a number of two digits, and group, of ``SC-HF-I-1`` or ``SC-HF-I-01``.

    Raises:
        UserError: the name is of another kind; the message says where.
    """
    match = PATIENT_NAME.fullmatch(name)
    if match is None:
        raise UserError(f"{where}: '{name}' is not the name of a patient, such as SC-HF-I-01.")
    return f"{match['group']}-{int(match['number']):02d}", match["group"]


def read_patient_table(path: Path) -> dict[str, str]:
    """Patient name as in the contour folders -> folder name of the images.

    Raises:
        UserError: the table is missing, or a patient occurs twice.
    """
    names: dict[str, str] = {}
    for row in read_table(path, ("PatientID", "OriginalID")):
        patient, _ = parse_patient(row["OriginalID"], path)
        if patient in names:
            raise UserError(f"{path} has two rows for {patient}.")
        names[patient] = row["PatientID"]
    return names


def patient_cases(contour_folder: Path, image_folder: Path, warnings: list[str]) -> list[Case]:
    """All cases of one patient."""
    patient, group = parse_patient(contour_folder.name, contour_folder)
    contours = index_contours(contour_folder / CONTOUR_FOLDER)
    series = read_series(find_series(image_folder, contours))
    phases = main_phases(series, contours, patient, warnings)
    shape = series.pixel_array_shape
    masks = {
        phase: {position: rasterize(path, shape) for position, path in slices.items()}
        for phase, slices in phases.items()
    }
    areas = {phase: {p: int(mask.sum()) for p, mask in slices.items()} for phase, slices in masks.items()}
    cases = []
    for frame, phase in name_phases(areas, patient, contour_folder).items():
        run = longest_run(sorted(masks[phase]))
        if len(run) < len(masks[phase]):
            warnings.append(
                f"{contour_folder}: the {frame} contours leave a slice out; used the {len(run)} adjacent ones of "
                f"{len(masks[phase])}."
            )
        label = partial(stack_masks, series, phase, run, [masks[phase][position] for position in run])
        cases.append(
            Case(
                name=f"{patient}_{frame}",
                subset="Tr",
                patient=patient,
                group=group,
                image=partial(series.stack, phase, run),
                label=label,
            )
        )
    everywhere = range(len(series.positions))
    # Phases are named from 1, as the images of a position are counted.
    cases += [
        Case(
            f"{patient}_phase{phase + 1:02d}",
            "Un",
            patient=patient,
            group=group,
            image=partial(series.stack, phase, everywhere),
        )
        for phase in range(series.number_of_phases)
        if phase not in phases
    ]
    return cases


def index_contours(folder: Path) -> dict[int, Path]:
    """Image number -> file of the inner contour; the folder holds other contours too.

    Raises:
        UserError: there is none.
    """
    contours = {int(match[1]): path for path in folder.glob("*") if (match := CONTOUR_NAME.fullmatch(path.name))}
    if not contours:
        raise UserError(f"{folder} holds no contours IM-0001-NNNN-icontour-manual.txt. Unpack them again.")
    return dict(sorted(contours.items()))


def main_phases(
    series: CineSeries, contours: Mapping[int, Path], patient: str, warnings: list[str]
) -> dict[int, dict[int, Path]]:
    """Phase -> slice position -> contour of the two phases with most contours (a stray contour is reported)."""
    phases: dict[int, dict[int, Path]] = {}
    for number, path in contours.items():
        phase, position = series.place(number)
        phases.setdefault(phase, {})[position] = path
    counts = Counter({phase: len(slices) for phase, slices in phases.items()}).most_common()
    for phase, _ in counts[2:]:
        files = ", ".join(path.name for path in phases.pop(phase).values())
        warnings.append(f"{patient}: contours outside the two labeled phases are not used: {files}.")
    return phases


def longest_run(positions: Sequence[int]) -> list[int]:
    """The longest run of adjacent positions, the first of equals.

    A slice that the expert left out is not known to be background, and a stack with a gap would lie about its spacing.
    """
    runs: list[list[int]] = [[]]
    for position in positions:
        if runs[-1] and position != runs[-1][-1] + 1:
            runs.append([])
        runs[-1].append(position)
    return max(runs, key=len)


def rasterize(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """The inside of a contour as an array (rows, columns), bool.

    Raises:
        UserError: the file does not hold at least three ``x y`` pairs within the image.
    """
    try:
        points = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise UserError(f"{path} is not a contour: {error}.") from error
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise UserError(f"{path} must hold at least three lines of 'x y', but holds an array of shape {points.shape}.")
    if points.min() < 0 or (points >= shape[::-1]).any():
        raise UserError(
            f"{path} leaves the image of {shape[1]} x {shape[0]} pixels: is it the contour of this patient?"
        )
    return polygon2mask(shape, points[:, ::-1])


def stack_masks(
    series: CineSeries, phase: int, positions: Sequence[int], masks: Sequence[np.ndarray]
) -> SimpleITK.Image:
    """The label of a stack, uint8, on the geometry of its image."""
    label = SimpleITK.GetImageFromArray(np.stack(masks).astype(np.uint8))
    label.CopyInformation(series.stack(phase, positions))
    return label
