"""Images that only the work folder has, since they are frames of a cine or of another dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nnunet_pix2rep.annotation.collect.dataset import RawDataset
from nnunet_pix2rep.annotation.image_copies import changed_files, copy_images
from nnunet_pix2rep.annotation.work_folder import IMAGES, Suggestion
from nnunet_pix2rep.nnunet.data.raw_images import list_raw_cases
from nnunet_pix2rep.nnunet.unlabeled.pool import PoolImage
from nnunet_pix2rep.nnunet.unlabeled.pool_patients import images_of_pools
from nnunet_pix2rep.nnunet.unlabeled.selection import UNLABELED_FOLDER


def with_work_folder(dataset: RawDataset, folder: Path, suggestion: Suggestion, scratch: Path) -> RawDataset:
    """The dataset together with what a work folder knows of the suggested cases.

    Frames of a cine and images of another dataset have no file of their own in the dataset; their copies in the work
    folder are taken. A copy that a viewer has saved over, or that is gone, is made again. A scan that was removed from
    the dataset does not come back from there.

    Args:
        dataset: The dataset.
        folder: The work folder.
        suggestion: Its suggestion.
        scratch: Gets copies that are made again.
    """
    patients, recorded = {entry.case: entry.patient for entry in suggestion.slices}, suggestion.image_checksums
    pools = images_of_pools(dataset.preprocessed) if dataset.preprocessed is not None else {}
    copies, wanted, again = list_raw_cases(folder / IMAGES, dataset.ending), {}, {}
    for case in sorted(patients.keys() & pools.keys()):
        image, files = pools[case], copies.get(case, [])
        if image.frame is None and image.dataset is None:
            continue
        if files:
            wanted[case] = files
        if len(files) == len(image.files) and not changed_files(files, recorded):
            continue
        sources = _find_sources(image, dataset)
        made = _copy_again(case, image, sources, dataset.ending, scratch)
        if made and not changed_files(made, recorded):
            wanted[case], again[case] = made, sources[0]
    return replace(dataset, patients=patients, copies=wanted, copied_again=again, image_checksums=recorded)


def _find_sources(image: PoolImage, dataset: RawDataset) -> list[Path]:
    """The files that an image comes from, also where the dataset has been moved since; none where they are gone."""
    own = [dataset.folder / UNLABELED_FOLDER] if image.dataset is None else []
    for folder in (Path(image.folder), *own):
        files = [folder / name for name in image.files]
        if all(file.is_file() for file in files):
            return files
    return []


def _copy_again(case: str, image: PoolImage, sources: list[Path], file_ending: str, folder: Path) -> list[Path]:
    try:
        return copy_images(case, sources, image.frame, file_ending, folder) if sources else []
    except RuntimeError:  # not to be read any more
        return []
