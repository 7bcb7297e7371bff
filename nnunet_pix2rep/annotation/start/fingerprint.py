"""nnU-Net's dataset fingerprint from images alone, by nnU-Net's own extractor.

Read against nnunetv2 2.8.1, experiment_planning/dataset_fingerprint/fingerprint_extractor.py: ``run`` works on the
images and labels in ``dataset``, whatever they are. So it is given the scans, and segmentations made for the purpose.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter
from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json
from nnunetv2.preprocessing.normalization.default_normalization_schemes import CTNormalization
from nnunetv2.preprocessing.normalization.map_channel_name_to_normalization import get_normalization_scheme

from nnunet_pix2rep.annotation.start.foreground import Foreground, Scan, ignore_label_of, prepare_scans
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.data.dataset_cases import labeled_images
from nnunet_pix2rep.nnunet.data.dataset_folders import UNLABELED_FOLDER
from nnunet_pix2rep.nnunet.data.raw_images import check_complete, list_raw_cases

FINGERPRINT_FILE = "dataset_fingerprint.json"
SOURCE_KEY = "pix2rep_foreground"
FROM_BODY, FROM_ANNOTATION = "body", "annotated"
SCRATCH_PREFIX = ".fingerprint_"
NUM_VOXELS = 1e7  # of all scans together; nnU-Net's 1e8 are for foreground that is known exactly


def channel_names(dataset_json: Mapping[str, Any]) -> list[str]:
    """Names of the channels in their order."""
    return list(dataset_json.get("channel_names", dataset_json.get("modality")).values())


def ct_channels(dataset_json: Mapping[str, Any]) -> list[str]:
    """Names of the channels that nnU-Net normalizes by the foreground intensities of the fingerprint."""
    return [name for name in channel_names(dataset_json) if issubclass(get_normalization_scheme(name), CTNormalization)]


def unlabeled_scans(raw: Path, dataset_json: Mapping[str, Any]) -> dict[str, list[Path]]:
    """Case -> its files in ``imagesUn``, without those that are labeled by now."""
    labeled = labeled_images(raw, dataset_json)
    cases = list_raw_cases(raw / UNLABELED_FOLDER, dataset_json["file_ending"])
    return {case: files for case, files in cases.items() if case not in labeled}


def extract_fingerprint(raw: Path, preprocessed: Path, num_processes: int) -> Foreground:
    """Writes ``dataset_fingerprint.json`` for all scans of a raw dataset, labeled or not.

    Beside nnU-Net's keys the file says where the foreground intensities come from.

    Args:
        raw: The raw dataset.
        preprocessed: Its folder in ``nnUNet_preprocessed``.
        num_processes: Worker processes.

    Returns:
        The scans that were used, and what is wrong with the others.

    Raises:
        UserError: no scan can be read.
    """
    (raw / "imagesTr").mkdir(exist_ok=True)  # nnU-Net lists it
    preprocessed.mkdir(parents=True, exist_ok=True)
    for leftover in preprocessed.glob(f"{SCRATCH_PREFIX}*"):
        shutil.rmtree(leftover)
    extractor = DatasetFingerprintExtractor(raw.name, num_processes)
    with TemporaryDirectory(dir=preprocessed, prefix=SCRATCH_PREFIX) as scratch:
        scans = _scans(extractor, raw, Path(scratch))
        foreground = prepare_scans(scans, num_processes)
        if not foreground.scans:
            raise UserError(f"None of the {len(scans)} scans of {raw} can be used. {_first(foreground.problems)}")
        extractor.dataset = {scan.name: {"images": list(scan.images), "label": scan.label} for scan in foreground.scans}
        extractor.num_foreground_voxels_for_intensitystats = NUM_VOXELS
        extractor.num_processes = min(num_processes, len(foreground.scans))
        extractor.run(overwrite_existing=True)
    file = preprocessed / FINGERPRINT_FILE
    source = FROM_ANNOTATION if foreground.is_annotated else FROM_BODY
    write_json(read_json(file) | {SOURCE_KEY: source}, file)
    return foreground


def _scans(extractor: DatasetFingerprintExtractor, raw: Path, scratch: Path) -> list[Scan]:
    dataset_json = extractor.dataset_json
    ending = dataset_json["file_ending"]
    labeled = {name: (tuple(case["images"]), case["label"]) for name, case in extractor.dataset.items()}
    unlabeled = {case: (tuple(map(str, files)), None) for case, files in unlabeled_scans(raw, dataset_json).items()}
    if not labeled and not unlabeled:
        raise UserError(
            f"{raw / UNLABELED_FOLDER} holds no image named <case>_0000{ending}. Add scans with nnunet_pix2rep "
            f"add_unlabeled -d {raw.name} -i FOLDER."
        )
    cases = unlabeled | labeled
    reader, _ = find_reader(dataset_json, [images[0] for images, _ in cases.values()])
    is_ct = tuple(issubclass(get_normalization_scheme(name), CTNormalization) for name in channel_names(dataset_json))
    return [
        Scan(
            name=name,
            images=images,
            label=label,
            reader=reader,
            is_ct=is_ct,
            ignore_label=ignore_label_of(dataset_json),
            scratch=str(scratch),
            file_ending=ending,
        )
        for name, (images, label) in sorted(cases.items())
    ]


def find_reader(dataset_json: dict[str, Any], files: Iterable[str]) -> tuple[type[BaseReaderWriter], str]:
    """nnU-Net's reader for the dataset, by the first file that can be read, and that file.

    Raises:
        UserError: none can be read.
    """
    files = list(files)
    for file in files:
        try:
            check_complete(Path(file))
            return determine_reader_writer_from_dataset_json(dataset_json, file, verbose=False), file
        except (UserError, RuntimeError):
            continue
    raise UserError(f"nnU-Net can read none of the {len(files)} scans, such as {files[0]}.")


def _first(problems: Mapping[str, str], limit: int = 3) -> str:
    return "; ".join(f"{name}: {problem}" for name, problem in sorted(problems.items())[:limit])
