"""Features of sampled pixels of every slice, scan by scan, kept in files so that an interrupted run goes on."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn.functional import normalize
from tqdm import tqdm

from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.annotation.suggest.scans import Scan, read_labels
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import atomic_path, read_json, write_json
from nnunet_pix2rep.nnunet.features.extraction import FeatureExtractor
from nnunet_pix2rep.nnunet.features.model import FeatureModel

FOLDER, SETTINGS_FILE = "features", "settings.json"
EMPTY_SHARE = 0.05
EXAMPLES_PER_SLICE = 16
TILE_STEP_SIZE = 1.0  # tiles side by side: each pixel is computed once


@dataclass(frozen=True)
class SamplingSettings:
    """Which pixels are looked at.

    Attributes:
        pixels_per_slice: Pixels drawn from each slice.
        slices_per_scan: Most slices of a scan that may be chosen, evenly spaced; of CTs with hundreds, neighbors are
            nearly the same.
        seed: Of the draw.
    """

    pixels_per_slice: int = 64
    slices_per_scan: int = 64
    seed: int = 0


@dataclass(frozen=True)
class ScanFeatures:
    """Features of a scan's slices.

    Attributes:
        slices: Which slices, ascending, shape (n,), int64.
        features: Shape (n, P, d), float16, of unit length.
        places: Where the pixels lie in their slice, 0 to 1 along its rows and columns, shape (n, P, 2), float16.
        examples: Features of annotated foreground, shape (M, d), float16.
    """

    slices: np.ndarray
    features: np.ndarray
    places: np.ndarray
    examples: np.ndarray


def require_own_features(folder: Path) -> None:
    """Refuses a folder of features with anything that ``suggest`` did not write, which it would overwrite or delete.

    Args:
        folder: ``features/`` of a work folder.

    Raises:
        UserError: there is such a file.
    """
    settings = folder / SETTINGS_FILE
    files = [path for path in sorted(folder.glob("*.npz")) if not path.name.startswith(".")]
    if not settings.is_file():
        foreign = files[:1]
    elif not _is_settings(read_json(settings)):
        foreign = [settings]
    else:
        foreign = [path for path in files if not _holds_features(path)]
    if foreign:
        raise UserError(
            f"{foreign[0]} was not written by suggest, or is damaged. suggest keeps its own features in {folder} and "
            "deletes them when they are out of date: move other files away, or choose another folder with -o."
        )


def _is_settings(content: Any) -> bool:
    return isinstance(content, dict) and {*SamplingSettings.__dataclass_fields__, "checkpoint"} <= content.keys()


def _holds_features(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as content:
            return {f"{name}.npy" for name in ScanFeatures.__dataclass_fields__} <= set(content.namelist())
    except zipfile.BadZipFile:
        return False


class FeatureCache:
    """Computes the features of scans, or reads those that an earlier run with the same settings has computed.

    Args:
        folder: The work folder.
        model: The checkpoint.
        label_files: Reads the labels of annotated scans.
        settings: Which pixels.
    """

    def __init__(self, folder: Path, model: FeatureModel, label_files: LabelFiles, settings: SamplingSettings):
        self.folder = folder / FOLDER
        self.settings = settings
        self.label_files = label_files
        self.extractor = FeatureExtractor(model, tile_step_size=TILE_STEP_SIZE)
        self._prepare(model)

    def _prepare(self, model: FeatureModel) -> None:
        """Deletes features of other settings.

        Raises:
            UserError: see :func:`require_own_features`.
        """
        require_own_features(self.folder)
        status = model.source.stat()
        wanted = asdict(self.settings) | {
            "checkpoint": str(model.source.resolve()),
            "checkpoint_size": status.st_size,
            "checkpoint_modified": status.st_mtime_ns,
            "features": model.features,
        }
        file = self.folder / SETTINGS_FILE
        if file.is_file():
            if read_json(file) == wanted:
                return
            for old in self.folder.glob("*.npz"):
                old.unlink()
        write_json(wanted, file)

    def compute(self, scans: Sequence[Scan]) -> None:
        """Computes what is missing."""
        for scan in tqdm(scans, desc="Features", unit="scan"):
            file = self._file(scan)
            if self._read(scan) is None:
                content = self._features_of(scan)
                with atomic_path(file) as temporary:
                    np.savez(temporary, **vars(content), **self._state(scan))

    def read(self, scan: Scan) -> ScanFeatures:
        """The features of a scan that :meth:`compute` has seen."""
        content = self._read(scan)
        if content is None:
            raise UserError(f"{self._file(scan)} is gone. Run the same command again.")
        return content

    def _file(self, scan: Scan) -> Path:
        return self.folder / f"{scan.case}.npz"

    def _state(self, scan: Scan) -> dict[str, Any]:
        """What the features of a scan depend on besides the settings."""
        status = scan.label.stat() if scan.label is not None else None
        return {
            "axis": np.int64(scan.axis),
            "annotated": np.array(scan.annotated, dtype=np.int64),
            "label_state": np.array([status.st_size, status.st_mtime_ns] if status else [], dtype=np.int64),
            "preprocessed_shape": np.array(scan.grid.preprocessed_shape, dtype=np.int64),
        }

    def _read(self, scan: Scan) -> ScanFeatures | None:
        file = self._file(scan)
        if not file.is_file():
            return None
        with np.load(file) as content:
            if any(not np.array_equal(content[name], value) for name, value in self._state(scan).items()):
                return None
            return ScanFeatures(**{name: content[name] for name in ScanFeatures.__dataclass_fields__})

    def _features_of(self, scan: Scan) -> ScanFeatures:
        generator = np.random.default_rng([self.settings.seed, zlib.crc32(scan.case.encode())])
        data = np.asarray(scan.image.open()[:])
        slices = chosen_slices(scan, self.settings.slices_per_scan)
        body = body_mask(data)
        drawn = [
            draw_pixels(scan, index, body=body, number=self.settings.pixels_per_slice, generator=generator)
            for index in slices
        ]
        examples = self._example_voxels(scan, generator)
        voxels = np.concatenate([*drawn, examples])
        if len(voxels) == 0:
            raise UserError(f"{scan.case} has no slice with anything but an empty margin. Remove the scan.")
        features = normalize(self.extractor.features_at(data, voxels), dim=1).numpy().astype(np.float16)
        count = len(voxels) - len(examples)
        shape = (len(slices), self.settings.pixels_per_slice, -1)
        return ScanFeatures(
            slices=np.array(slices, dtype=np.int64),
            features=features[:count].reshape(*shape[:2], features.shape[1]),
            places=_places(scan, voxels[:count]).reshape(shape).astype(np.float16),
            examples=features[count:],
        )

    def _example_voxels(self, scan: Scan, generator: np.random.Generator) -> np.ndarray:
        """Preprocessed voxels (M, 3) of annotated foreground, some of each annotated slice."""
        found = []
        if scan.annotated and scan.label is not None:
            labels = np.moveaxis(read_labels(self.label_files, scan.label, scan.grid), scan.axis, 0)
            for index in scan.annotated:
                plane = np.argwhere((labels[index] != 0) & (labels[index] != self.label_files.ignore_label))
                drawn = generator.permutation(len(plane))[:EXAMPLES_PER_SLICE]
                found.append(np.insert(plane[drawn], scan.axis, index, axis=1))
        if not found:
            return np.empty((0, 3), dtype=np.int64)
        voxels, inside = scan.grid.preprocessed_voxels(np.concatenate(found))
        return voxels[inside]


def chosen_slices(scan: Scan, most: int) -> list[int]:
    """All annotated slices of a scan, and its free ones, of which at most so many, evenly spaced."""
    free = scan.free_slices
    if len(free) > most:
        free = [free[math.floor((number + 0.5) * len(free) / most)] for number in range(most)]
    filled = scan.grid.filled_slices(scan.axis)
    return sorted([*free, *(index for index in scan.annotated if index in filled)])


def body_mask(data: np.ndarray) -> np.ndarray:
    """Where a preprocessed image (C, Z, Y, X) is brighter than its background of air, in any channel; (Z, Y, X)."""
    mask = np.zeros(data.shape[1:], dtype=bool)
    for channel in data:
        low, high = np.percentile(channel, (0.5, 99.5))
        mask |= channel > low + EMPTY_SHARE * (high - low)
    return mask


def draw_pixels(scan: Scan, index: int, body: np.ndarray, number: int, generator: np.random.Generator) -> np.ndarray:
    """Preprocessed voxels (number, 3) of a raw slice: of the body where the slice shows it, none twice if possible."""
    along, planes = scan.grid.planes(scan.axis, index)
    part = np.take(body, planes, axis=along)
    candidates = np.argwhere(part if part.any() else np.ones_like(part))
    drawn = candidates[np.resize(generator.permutation(len(candidates)), number)]
    drawn[:, along] = planes[drawn[:, along]]
    return drawn


def _places(scan: Scan, voxels: np.ndarray) -> np.ndarray:
    """Relative places (N, 2) of preprocessed voxels within their slice."""
    relative = (voxels + 0.5) / np.array(scan.grid.preprocessed_shape)
    return np.delete(relative, scan.grid.transpose_forward.index(scan.axis), axis=1)
