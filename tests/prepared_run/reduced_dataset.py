"""A part of a raw dataset that fits beside the packed environment.

``python tests/prepared_run/reduced_dataset.py SOURCE TARGET --megabytes 24`` copies as many patients as fit, evenly
spread over the alphabet: where groups of patients follow one another, as in ACDC, each has its part. ``--pixels 3``
makes the pixels of every slice 3 mm wide first: all patients of ACDC fit then, and the Dice is of labels of that size.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import SimpleITK

from nnunet_pix2rep.files import read_json, write_json

PATIENTS_FILE = "patients.json"


def spread_evenly(names: list[str], number: int) -> list[str]:
    """``number`` of the names at equal distances, the first and the last among them."""
    if number < 2:
        return names[:number]
    return [names[round(index * (len(names) - 1) / (number - 1))] for index in range(number)]


def files_of(dataset: Path) -> dict[str, list[Path]]:
    """Patient -> images and labels, relative to the dataset; without ``patients.json`` a case is a patient."""
    ending = read_json(dataset / "dataset.json")["file_ending"]
    file = dataset / PATIENTS_FILE
    patients = read_json(file) if file.is_file() else {}
    found: dict[str, list[Path]] = {}
    for label in sorted((dataset / "labelsTr").glob(f"*{ending}")):
        case = label.name.removesuffix(ending)
        images = sorted((dataset / "imagesTr").glob(f"{case}_[0-9][0-9][0-9][0-9]{ending}"))
        patient = patients[case]["patient"] if case in patients else case
        found.setdefault(patient, []).extend(path.relative_to(dataset) for path in (label, *images))
    return found


def chosen_files(dataset: Path, max_bytes: float) -> list[Path]:
    """The files of as many patients as fit into ``max_bytes``."""
    files = files_of(dataset)
    for number in range(len(files), 0, -1):
        chosen = [path for patient in spread_evenly(sorted(files), number) for path in files[patient]]
        if sum((dataset / path).stat().st_size for path in chosen) <= max_bytes:
            return chosen
    return []


def write_reduced(source: Path, target: Path, max_bytes: float) -> int:
    """Writes the reduced dataset; returns its number of cases."""
    files = chosen_files(source, max_bytes)
    for path in files:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, target / path)
    record = read_json(source / "dataset.json")
    cases = {path.name.removesuffix(record["file_ending"]) for path in files if path.parent.name == "labelsTr"}
    write_json(record | {"numTraining": len(cases)}, target / "dataset.json")
    if (source / PATIENTS_FILE).is_file():
        patients = read_json(source / PATIENTS_FILE)
        write_json({case: patients[case] for case in patients if case in cases}, target / PATIENTS_FILE)
    return len(cases)


def with_pixels(image: SimpleITK.Image, millimeters: float, interpolator: int) -> SimpleITK.Image:
    """An image whose slices have square pixels of this width and, to less than a pixel, the same field of view."""
    spacing = (millimeters, millimeters, *image.GetSpacing()[2:])
    size = [
        max(1, round(number * old / new))
        for number, old, new in zip(image.GetSize(), image.GetSpacing(), spacing, strict=True)
    ]
    first_center = [(new - old) / (2 * old) for old, new in zip(image.GetSpacing(), spacing, strict=True)]
    origin = image.TransformContinuousIndexToPhysicalPoint(first_center)
    return SimpleITK.Resample(
        image,
        size,
        SimpleITK.Transform(),
        interpolator,
        outputOrigin=origin,
        outputSpacing=spacing,
        outputDirection=image.GetDirection(),
        useNearestNeighborExtrapolator=True,
    )


def write_with_pixels(source: Path, target: Path, millimeters: float) -> None:
    """Writes the dataset with images interpolated linearly to these pixels, labels by the nearest."""
    for path in (path for files in files_of(source).values() for path in files):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        is_label = path.parent.name == "labelsTr"
        interpolator = SimpleITK.sitkNearestNeighbor if is_label else SimpleITK.sitkLinear
        image = SimpleITK.ReadImage(str(source / path))
        SimpleITK.WriteImage(with_pixels(image, millimeters, interpolator), str(target / path), useCompression=True)
    for name in ("dataset.json", PATIENTS_FILE):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def main() -> None:
    """Reads the arguments and copies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path, help="A new folder, named as nnU-Net names datasets.")
    parser.add_argument(
        "--megabytes", type=float, default=24.0, help="Size of images and labels. Default: %(default)s."
    )
    parser.add_argument("--pixels", type=float, metavar="MM", help="Width of the pixels. Default: as they are.")
    arguments = parser.parse_args()
    if arguments.target.exists():
        parser.error(f"{arguments.target} exists")
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.source
        if arguments.pixels is not None:
            source = Path(folder)
            write_with_pixels(arguments.source, source, arguments.pixels)
        num_cases = write_reduced(source, arguments.target, arguments.megabytes * 2**20)
    print(f"{arguments.target} holds {num_cases} cases")


if __name__ == "__main__":
    main()
