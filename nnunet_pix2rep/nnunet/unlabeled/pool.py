"""The pool of unlabeled images: preprocessed like the labeled ones, kept where nnU-Net never lists training cases.

The images of a configuration lie in ``<data_identifier>_unlabeled/`` of the dataset's preprocessed folder, as nnU-Net
saves them but without a segmentation. ``<data_identifier>_unlabeled.json`` beside it records how they were preprocessed
and where each came from. nnU-Net's own preprocessing deletes and fills ``<data_identifier>/`` alone, so it leaves both
as they are.
"""

from __future__ import annotations

import filecmp
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json

SUFFIX = "_unlabeled"
FORMAT_VERSION = 1
IMAGE_ENDINGS = (".b2nd", ".pkl")


@dataclass(frozen=True)
class PoolImage:
    """Where an image of the pool comes from.

    Attributes:
        raw_case: The case's identifier in its source folder.
        folder: The source folder.
        files: File name -> size in bytes, a file per channel in their order.
        modified: Latest modification time of the files, in nanoseconds.
        frame: Which frame of a 4D file, counted from 1; None: the file is one image.
        patient: The patient, where another dataset's ``patients.json`` names it.
        dataset: The other dataset that the image comes from, if it is not one of the pool's own.
    """

    raw_case: str
    folder: str
    files: dict[str, int]
    modified: int
    frame: int | None = None
    patient: str | None = None
    dataset: str | None = None

    def same_source(self, other: PoolImage) -> bool:
        """Whether both are the same image.

        A copy in another folder counts as the same: by its bytes, or where one of the two is gone, by names and sizes.
        """
        if (self.raw_case, self.files, self.frame) != (other.raw_case, other.files, other.frame):
            return False
        if self.folder == other.folder:
            return self.modified == other.modified
        pairs = [(Path(self.folder) / name, Path(other.folder) / name) for name in self.files]
        # two volumes of one size have equally long files where they are not compressed
        return all(filecmp.cmp(*pair, shallow=False) for pair in pairs if all(file.is_file() for file in pair))


@dataclass
class Pool:
    """The unlabeled images of one configuration.

    Attributes:
        folder: Folder with the preprocessed images.
        preprocessing: What the result of preprocessing depends on, see :func:`preprocessing_of`.
        images: Identifier -> origin, also of images whose preprocessing is not done.
        left_out: Raw cases of ``imagesUn`` that were looked at and of which nothing was taken, such as label maps.
    """

    folder: Path
    preprocessing: dict[str, Any]
    images: dict[str, PoolImage] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def record_file(self) -> Path:
        """The record, beside the folder: a JSON file inside would make nnU-Net's ``infer_dataset_class`` fail there."""
        return self.folder.with_name(f"{self.folder.name}.json")

    def is_done(self, identifier: str) -> bool:
        """Whether an image is preprocessed. Its ``.b2nd`` gets its name when everything is written."""
        return (self.folder / f"{identifier}.b2nd").is_file()

    def remove(self, identifier: str) -> None:
        """Deletes a preprocessed image; the ``.b2nd`` first, so that no half image is ever taken for a whole one."""
        for ending in IMAGE_ENDINGS:
            (self.folder / f"{identifier}{ending}").unlink(missing_ok=True)

    def write(self) -> None:
        """Writes the record."""
        images = {identifier: asdict(image) for identifier, image in sorted(self.images.items())}
        content = {"format_version": FORMAT_VERSION, "preprocessing": self.preprocessing, "images": images}
        write_json(content | {"left_out": sorted(self.left_out)}, self.record_file)


def pool_folder(dataset_folder: Path, data_identifier: str) -> Path:
    """The folder of unlabeled images beside the labeled ones."""
    return dataset_folder / f"{data_identifier}{SUFFIX}"


def read_pool(folder: Path) -> Pool | None:
    """Reads the record of a pool; None where there is none.

    Raises:
        UserError: the record is of another version or no record.
    """
    path = Pool(folder, {}).record_file
    if not path.is_file():
        return None
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{path} is no record of unlabeled images that this version of nnunet_pix2rep reads. Move it and {folder} "
            "away, and run nnunet_pix2rep preprocess_unlabeled again."
        )
    images = {
        identifier: PoolImage(**({"dataset": _dataset_in(identifier, image["raw_case"])} | image))
        for identifier, image in content["images"].items()
    }
    return Pool(folder, content["preprocessing"], images, content.get("left_out", []))


def _dataset_in(identifier: str, raw_case: str) -> str | None:
    """The other dataset in front of an identifier, for records of version 0.1.0, which do not note it."""
    return None if identifier.startswith(raw_case) else identifier.partition(f"_{raw_case}")[0] or None


def preprocessing_of(plans_manager: PlansManager, configuration_manager: ConfigurationManager) -> dict[str, Any]:
    """All of the plans that nnU-Net's preprocessing of an image reads (nnunetv2 2.8.1, default_preprocessor.py)."""
    configuration = configuration_manager.configuration
    names = (
        "preprocessor_name",
        "spacing",
        "normalization_schemes",
        "use_mask_for_norm",
        "resampling_fn_data",
        "resampling_fn_data_kwargs",
    )
    plan_names = ("image_reader_writer", "transpose_forward", "foreground_intensity_properties_per_channel")
    return {name: plans_manager.plans[name] for name in plan_names} | {name: configuration[name] for name in names}
