"""What the structure looks like to the network: a click, or the foreground of what is annotated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nnunet_pix2rep.annotation.suggest.features.pool_features import FeaturePool
from nnunet_pix2rep.annotation.suggest.request import Click
from nnunet_pix2rep.annotation.suggest.scans import Scan
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.features.extraction import FeatureExtractor

MAX_NAMES = 5


@dataclass(frozen=True)
class Weighting:
    """How pixels count.

    Attributes:
        name: One of ``pool_features.WEIGHTINGS``.
        examples: Shape (M, k): features of the structure; empty for other weightings.
        note: Says so to the user.
    """

    name: str
    examples: torch.Tensor
    note: str


def voxel_of_click(click: Click, scans: Sequence[Scan]) -> tuple[Scan, np.ndarray]:
    """The scan of a click, and its preprocessed voxel (1, 3).

    Raises:
        UserError: there is no such scan, or the point lies outside of it or where nnU-Net crops it.
    """
    by_case = {scan.case: scan for scan in scans}
    if click.case not in by_case:
        names = ", ".join(sorted(by_case)[:MAX_NAMES])
        raise UserError(
            f"--like {click.case}: there is no such scan to choose from. There are {len(by_case)}, such as {names}."
        )
    scan = by_case[click.case]
    raw = np.array([[*([0] if len(click.point) == 2 else []), *reversed(click.point)]])
    place = ",".join(map(str, click.point))
    if (raw < 0).any() or (raw >= np.array(scan.grid.shape)).any():
        raise UserError(
            f"--like {click.case}:{place} lies outside of the image, which has {scan.grid.shape[::-1]} voxels "
            "(x, y, z)."
        )
    voxel, inside = scan.grid.preprocessed_voxels(raw)
    if not inside[0]:
        raise UserError(f"--like {click.case}:{place} lies in the empty margin of the image, which nnU-Net crops.")
    return scan, voxel


def find_weighting(
    wanted: str | None, click: Click | None, found: FeaturePool, scans: Sequence[Scan], extractor: FeatureExtractor
) -> Weighting:
    """How pixels count: by the click, else by annotated foreground, else equally; unless the user says how.

    Raises:
        UserError: pixels should count by a structure that nothing shows, or the click is nowhere.
    """
    if click is not None:
        if wanted not in (None, "structure"):
            raise UserError(f"--like weighs pixels by the structure, --weigh by {wanted}: give one of them.")
        scan, voxel = voxel_of_click(click, scans)
        features = extractor.features_at(np.asarray(scan.image.open()[:]), voxel)
        examples = found.basis(torch.nn.functional.normalize(features, dim=1))
        return Weighting("structure", examples, f"Pixels count by their similarity to the click in {click.case}.")
    if wanted in (None, "structure") and len(found.examples):
        note = "Pixels count by their similarity to the foreground that is annotated already."
        return Weighting("structure", found.examples, note)
    if wanted == "structure":
        raise UserError("--weigh structure needs a click (--like CASE:x,y,z) or annotated foreground.")
    notes = {
        "all": "All pixels count the same. One click (--like CASE:x,y,z) says where the structure is.",
        "distinctive": "Pixels count by how few pixels are like them.",
        "centre": "Pixels count by how near they are to the middle of their slice.",
    }
    name = wanted or "all"
    return Weighting(name, found.examples[:0], notes[name])
