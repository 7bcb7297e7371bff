"""Pictures of the features of a folder of images: colors, similarity to a point, error of equivariance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from nnunet_pix2rep.diagnostics.equivariance import equivariance_error
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.feature_pictures import PIXELS_PER_IMAGE, ColorBasis, FeaturePicture, plot_picture
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.geometry.grids import SpatialTransform, TransformRanges, draw_transform
from nnunet_pix2rep.geometry.warp import warp
from nnunet_pix2rep.nearest_neighbors import cosine_similarity_to
from nnunet_pix2rep.nnunet.checkpoints.files import package_versions
from nnunet_pix2rep.nnunet.features.extraction import FeatureExtractor, voxels_of
from nnunet_pix2rep.nnunet.features.model import FeatureModel
from nnunet_pix2rep.nnunet.features.prepared_images import PreparedImage, find_cases, prepare_image
from nnunet_pix2rep.nnunet.features.raw_files import RAW_FORMATS, check_format, preprocessed_spacing, write_features
from nnunet_pix2rep.nnunet.features.reference_point import Point, most_distinct, voxel_of_point

REPORT_FILE = "features.json"
ROTATION_DEGREES = (-30.0, 30.0)  # where the settings leave the range to nnU-Net's rule


class FeatureReport:
    """Makes the pictures of a folder.

    Args:
        model: The checkpoint.
        images: Folder of images in nnU-Net's naming.
        mirroring: See :class:`FeatureExtractor`.
        seed: Of the pixels of the color basis, and of the transform of the equivariance error.

    Raises:
        UserError: there is no such folder, or no image in it.
    """

    def __init__(self, model: FeatureModel, images: Path, mirroring: bool = False, seed: int = 0):
        self.model = model
        self.images = find_cases(images, model.file_ending, "images")
        self.extractor = FeatureExtractor(model, mirroring)
        self.settings = {"features": model.features, "mirroring": mirroring, "seed": seed}
        self.seed = seed

    def write(
        self,
        output: Path,
        point: Sequence[int] | None = None,
        point_case: str | None = None,
        raw_format: str | None = None,
        overwrite: bool = False,
    ) -> list[Path]:
        """Writes ``<case>.png`` for every image, raw features if wanted, and ``features.json``.

        A picture shows the middle slice of its image, or the slice of the point.

        Args:
            output: The folder.
            point: (x, y[, z]) in voxels of the raw image, from 0; None: the pixel in the central half of the middle
                slice that is least like the rest of the slice.
            point_case: The image of the point; None: the first one.
            raw_format: ``npz`` or ``nifti`` for raw features, see :func:`write_features`.
            overwrite: Whether to replace what is there.

        Raises:
            UserError: bad input, or files that are there already.
        """
        if raw_format is not None:
            check_format(self.model, raw_format)
        self._check_output(output, raw_format, overwrite)
        found, basis = self._survey(self._point_case(point_case), point)
        errors, written = {}, []
        for case in tqdm(self.images, desc="pictures", unit="image"):
            image = self._prepare(case)
            picture = self._picture(case, image, found, basis)
            plot_picture(picture, output / f"{case}.png")
            written.append(output / f"{case}.png")
            if np.isfinite(picture.equivariance).any():
                errors[case] = float(np.nanmean(picture.equivariance))
            if raw_format is not None:
                path = output / f"{case}{RAW_FORMATS[raw_format]}"
                write_features(self.extractor, self.model, image=image, raw_format=raw_format, path=path)
                written.append(path)
        report = {
            "checkpoint": str(self.model.source.resolve()),
            **self.settings,
            "explained_variance": basis.explained,
            "point": {"case": found.case, "preprocessed_zyx": list(found.voxel)},
            "equivariance_error": errors,
            "package_versions": package_versions(),
        }
        write_json(report, output / REPORT_FILE)
        return [*written, output / REPORT_FILE]

    def _check_output(self, output: Path, raw_format: str | None, overwrite: bool) -> None:
        names = [REPORT_FILE, *(f"{case}.png" for case in self.images)]
        names += [f"{case}{RAW_FORMATS[raw_format]}" for case in self.images] if raw_format else []
        present = [name for name in names if (output / name).exists()]
        if present and not overwrite:
            raise UserError(
                f"{output} holds {present[0]} and {len(present) - 1} more of the files to write. Use --overwrite, or "
                "another folder."
            )
        own = {path.parent.resolve() for files in self.images.values() for path in files}
        if output.resolve() in own:
            raise UserError(f"-o {output} is the folder of the images: choose another one.")

    def _point_case(self, wanted: str | None) -> str:
        if wanted is None:
            return next(iter(self.images))
        if wanted not in self.images:
            raise UserError(f"There is no image {wanted} (images: {', '.join(list(self.images)[:5])}, ...).")
        return wanted

    def _prepare(self, case: str) -> PreparedImage:
        return prepare_image(self.model, case, self.images[case])

    def _survey(self, point_case: str, point: Sequence[int] | None) -> tuple[Point, ColorBasis]:
        """The point and the color basis: one pass over the images, of which little is kept."""
        generator = np.random.default_rng(self.seed)
        found: Point | None = None
        samples = []
        for case in tqdm([point_case, *(case for case in self.images if case != point_case)], desc="survey"):
            image = self._prepare(case)
            place = None
            if found is None and point is not None:
                place = voxel_of_point(point, image, self.model, case)
            depth = image.data.shape[1] // 2 if place is None else place[0]
            features = self._slice_features(image.data, depth)
            if found is None:
                y, x = place[1:] if place else most_distinct(features, image.data.shape[2:])
                found = Point(case, (depth, y, x), features[y * image.data.shape[3] + x])
            chosen = generator.permutation(len(features))[:PIXELS_PER_IMAGE]
            samples.append(features[chosen].numpy())
        assert found is not None, "the survey looks at one image at least"
        return found, ColorBasis.fit(samples)

    def _slice_features(self, data: np.ndarray, depth: int) -> torch.Tensor:
        return self.extractor.features_at(data, voxels_of(slice(depth, depth + 1), data.shape[2:]))

    def _picture(self, case: str, image: PreparedImage, point: Point, basis: ColorBasis) -> FeaturePicture:
        depth = point.voxel[0] if case == point.case else image.data.shape[1] // 2
        plane = image.data.shape[2:]
        features = self._slice_features(image.data, depth)
        return FeaturePicture(
            title=f"{case}, slice {depth + 1} of {image.data.shape[1]}; {self.model.features} features",
            image=image.data[0, depth],
            colors=basis.colors(features.reshape(*plane, -1).numpy()),
            similarity=cosine_similarity_to(features, point.features).reshape(plane).numpy(),
            equivariance=self._equivariance(image.data, depth, features).numpy(),
            pixel_size=tuple(preprocessed_spacing(self.model, image)[1:]),
            point=point.voxel[1:] if case == point.case else None,
            point_name="the point" if case == point.case else f"the point in {point.case}",
        )

    def _equivariance(self, data: np.ndarray, depth: int, features: torch.Tensor) -> torch.Tensor:
        """The error in one slice, for an in-plane transform of the whole image; shape (Y, X)."""
        plane = data.shape[2:]
        transform = draw_transform(self._ranges(), plane, np.random.default_rng(self.seed))
        return equivariance_of_slice(self._slice_features, data, depth=depth, features=features, transform=transform)

    def _ranges(self) -> TransformRanges:
        settings = self.model.config.pretraining.views
        return TransformRanges(
            rotation=tuple(np.deg2rad(settings.rotation_degrees or ROTATION_DEGREES)),
            zoom=settings.zoom,
            translation=settings.translation,
            elastic_probability=settings.elastic_probability,
            elastic_amplitudes=(settings.elastic_coarse_amplitude, settings.elastic_fine_amplitude),
        )


def equivariance_of_slice(
    slice_features: Any, data: np.ndarray, depth: int, features: torch.Tensor, transform: SpatialTransform
) -> torch.Tensor:
    """The error of equivariance in one slice.

    Args:
        slice_features: Takes an image (C, Z, Y, X) and a slice to features (Y * X, d).
        data: The image.
        depth: The slice.
        features: ``slice_features(data, depth)``.
        transform: A transform of the plane, which all slices undergo.

    Returns:
        Shape (Y, X), see :func:`nnunet_pix2rep.diagnostics.equivariance.equivariance_error`.
    """
    plane = data.shape[2:]
    slices = torch.from_numpy(np.ascontiguousarray(data)).float().reshape(-1, *plane)
    warped = warp(slices, transform.grid(plane)).reshape(data.shape).numpy()
    features_of_warped = slice_features(warped, depth)
    before, after = (rows.T.reshape(-1, *plane) for rows in (features, features_of_warped))
    return equivariance_error(before, after, transform)
