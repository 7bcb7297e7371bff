"""Finding images of any common format in a folder: files, channels of one case, DICOM series."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import SimpleITK

from nnunet_pix2rep.errors import UserError

MEDICAL_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".gipl")
LOSSY_ENDINGS = (".jpg", ".jpeg")
NATURAL_ENDINGS = (".png", *LOSSY_ENDINGS, ".bmp", ".tif", ".tiff")
DICOM_ENDINGS = (".dcm", ".ima", ".dicom")
NOT_PERMITTED = "it may not be read (permission denied)"
MAX_NAME_BYTES = 200  # file names have 255 at most; channel, ending and the name of a dataset are put to a case name
SERIES_NUMBER, PATIENT_ID = "0020|0011", "0010|0020"


@dataclass(frozen=True)
class FoundImage:
    """An image to add.

    Attributes:
        name: The case name made of its path.
        label: The path below the input folder, for messages.
        files: A file per channel, or the slices of a DICOM series in their order.
        is_dicom: Whether it is a DICOM series.
        patient_id: PatientID of a DICOM series, empty where it has none.
    """

    name: str
    label: str
    files: tuple[Path, ...]
    is_dicom: bool = False
    patient_id: str = ""


@dataclass
class FoundImages:
    """What a folder holds.

    Attributes:
        images: The images, sorted by name.
        problems: Path below the input folder -> why it cannot be taken.
        ignored: Files that are no images.
    """

    images: list[FoundImage] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)


def find_images(folder: Path) -> FoundImages:
    """Searches a folder and all folders below it; hidden files and folders are left out.

    Files ``<name>_0000``, ``<name>_0001``, ... are the channels of one image. A folder may hold several DICOM series.

    Args:
        folder: The input folder.

    Raises:
        UserError: the folder does not exist or holds no image.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Name the folder of unlabeled images with -i.")
    files, dicom_folders, found = defaultdict(list), set(), FoundImages()
    for path in _files_below(folder, found):
        ending = ending_of(path, MEDICAL_ENDINGS + NATURAL_ENDINGS)
        try:
            if ending is not None:
                files[path.parent].append(path)
            elif _is_dicom(path):
                dicom_folders.add(path.parent)
            else:
                found.ignored.append(str(path.relative_to(folder)))
        except PermissionError:
            found.problems[str(path.relative_to(folder))] = NOT_PERMITTED
    images = [image for paths in files.values() for image in _group_channels(folder, paths)]
    for path in sorted(dicom_folders):
        series = _dicom_series(folder, path)
        images += series
        if not series:
            found.problems[str(path.relative_to(folder))] = "none of its DICOM files can be read"
    _take_unique_names(images, found)
    if not images and not found.problems:
        raise UserError(f"{folder} holds no NIfTI, NRRD, MetaImage, DICOM, PNG, JPEG, BMP or TIFF image.")
    return found


def _files_below(folder: Path, found: FoundImages) -> list[Path]:
    """All files that are not hidden, sorted; folders that may not be read are noted as problems."""

    def note(error: OSError) -> None:
        found.problems[str(Path(error.filename).relative_to(folder))] = NOT_PERMITTED

    files = []
    for root, folders, names in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(root, name) for name in names if not name.startswith(".")]
    return sorted(path for path in files if path.is_file())


def _take_unique_names(images: list[FoundImage], found: FoundImages) -> None:
    by_name = defaultdict(list)
    for image in images:
        by_name[image.name].append(image)
    for name, same in sorted(by_name.items()):
        if len(os.fsencode(name)) > MAX_NAME_BYTES:
            for image in same:
                found.problems[image.label] = (
                    f"its case name would have {len(name)} characters, too many for the names of files: shorten the "
                    "names of its folders, or give -i the folder itself"
                )
        elif len(same) == 1:
            found.images.append(same[0])
        else:
            for image in same:
                others = ", ".join(other.label for other in same if other is not image)
                found.problems[image.label] = (
                    f"it would get the case name {name}, as would {others}: rename one of them"
                )


def ending_of(path: Path, endings: Iterable[str]) -> str | None:
    """The ending of a file name, of those given, in lower case; None where it has another."""
    return next((ending for ending in endings if path.name.lower().endswith(ending)), None)


def case_name(relative: Path | str) -> str:
    """A case name made of a relative path: letters (of any script), digits, ``_`` and ``-``.

    Composed and decomposed characters, which file systems do not tell apart, give the same name. No name ends in
    ``_seg``: nnU-Net would take the preprocessed image of such a case for a segmentation.

    >>> case_name("Müller, A/scan 1")
    'Müller_A_scan_1'
    """
    text = unicodedata.normalize("NFC", "_".join(Path(relative).parts))
    return re.sub("_seg$", "-seg", re.sub(r"[^\w-]+", "_", text).strip("_"))


def _group_channels(folder: Path, paths: list[Path]) -> list[FoundImage]:
    """Groups the files of one folder by their name without ``_0000``.

    Numbers that do not run from 0000 without a gap, as in IMG_0001 to IMG_0100, are no channels.
    """
    images, groups = [], defaultdict(list)
    for path in paths:
        ending = ending_of(path, MEDICAL_ENDINGS + NATURAL_ENDINGS)
        assert ending is not None, "files of other endings are left out before"
        stem = path.name[: -len(ending)]
        match = re.fullmatch(r"(.+)_(\d{4})", stem)
        if match is None:
            images.append(_found(folder, stem, [path]))
        else:
            groups[match[1]].append((int(match[2]), stem, path))
    for stem, members in groups.items():
        members = sorted(members)
        if [number for number, _, _ in members] == list(range(len(members))):
            images.append(_found(folder, stem, [path for _, _, path in members]))
        else:
            images += [_found(folder, full_stem, [path]) for _, full_stem, path in members]
    return images


def _found(folder: Path, stem: str, files: list[Path]) -> FoundImage:
    relative = files[0].relative_to(folder)
    return FoundImage(case_name(relative.with_name(stem)), str(relative), tuple(files))


def _is_dicom(path: Path) -> bool:
    if ending_of(path, DICOM_ENDINGS) is not None:
        return True
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _dicom_series(folder: Path, path: Path) -> list[FoundImage]:
    reader = SimpleITK.ImageSeriesReader
    series = {uid: reader.GetGDCMSeriesFileNames(str(path), uid) for uid in reader.GetGDCMSeriesIDs(str(path))}
    relative = path.relative_to(folder)
    base = relative if relative.parts else Path(folder.name)
    tags = {uid: _read_tags(Path(files[0]), SERIES_NUMBER, PATIENT_ID) for uid, files in series.items()}
    numbers = {uid: number for uid, (number, _) in tags.items()}
    images = []
    for uid, files in series.items():
        suffix = ""
        if len(series) > 1:
            is_unique = numbers[uid] and list(numbers.values()).count(numbers[uid]) == 1
            suffix = f"_series{numbers[uid]}" if is_unique else f"_{uid}"
        name = case_name(f"{base}{suffix}")
        label = f"{relative}{suffix and ' ' + suffix[1:]}"
        images.append(FoundImage(name, label, files=tuple(map(Path, files)), is_dicom=True, patient_id=tags[uid][1]))
    return images


def _read_tags(file: Path, *tags: str) -> tuple[str, ...]:
    """The values of DICOM tags, empty where the file does not have them."""
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    return tuple(reader.GetMetaData(tag).strip() if reader.HasMetaDataKey(tag) else "" for tag in tags)
