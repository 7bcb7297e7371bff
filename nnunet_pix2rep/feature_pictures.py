"""Pictures of pixel features: principal components as colors, similarity to a point, error of equivariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from nnunet_pix2rep.files import atomic_path

PIXELS_PER_IMAGE = 1000
DARKEST, BRIGHTEST = 1, 99  # percentiles
PANEL_INCHES = 3.0
DOTS_PER_INCH = 120
UNRELATED = 2.0  # squared distance of unrelated normalized features


@dataclass(frozen=True)
class ColorBasis:
    """The first three principal components as red, green and blue.

    Attributes:
        components: scikit-learn's PCA.
        low: What becomes 0 in each color, shape (3,).
        high: What becomes 1.
    """

    components: PCA
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def fit(cls, features: Sequence[np.ndarray], pixels_per_image: int = PIXELS_PER_IMAGE, seed: int = 0) -> ColorBasis:
        """One basis for all images.

        Args:
            features: Shape (N, channels) each; at least 3 pixels in all, and 3 channels.
            pixels_per_image: The basis rests on so many pixels of each image, so that large ones do not rule it.
            seed: Of their choice.
        """
        generator = np.random.default_rng(seed)
        sample = np.concatenate([rows[generator.permutation(len(rows))[:pixels_per_image]] for rows in features])
        components = PCA(3, svd_solver="full").fit(sample)
        low, high = np.percentile(components.transform(sample), [DARKEST, BRIGHTEST], axis=0)
        return cls(components, low, high)

    @property
    def explained(self) -> list[float]:
        """Share of the variance that each component explains."""
        return [float(share) for share in self.components.explained_variance_ratio_]

    def colors(self, features: np.ndarray) -> np.ndarray:
        """Features (*S, channels) to colors (*S, 3) from 0 to 1."""
        values = self.components.transform(features.reshape(-1, features.shape[-1]))
        scaled = (values - self.low) / np.maximum(self.high - self.low, 1e-12)
        return np.clip(scaled, 0, 1).reshape(*features.shape[:-1], 3)


def gray(image: np.ndarray) -> np.ndarray:
    """An image (Y, X) between its 1st and 99.5th percentile; from 0 to 1."""
    low, high = np.percentile(image, (1, 99.5))
    return np.clip((image - low) / max(high - low, 1e-6), 0, 1)


@dataclass(frozen=True)
class FeaturePicture:
    """What is shown of one slice of an image.

    Attributes:
        title: Stands above.
        image: Shape (Y, X).
        colors: Principal components, shape (Y, X, 3).
        similarity: Cosine similarity to the point, shape (Y, X).
        equivariance: Error of equivariance, shape (Y, X), NaN where it is not known.
        pixel_size: Along y and x.
        point: The point, as (y, x), where it lies in this slice.
        point_name: Which point it is, for the title of its panel.
    """

    title: str
    image: np.ndarray
    colors: np.ndarray
    similarity: np.ndarray
    equivariance: np.ndarray
    pixel_size: tuple[float, float]
    point: tuple[int, int] | None
    point_name: str


def plot_picture(picture: FeaturePicture, path: Path) -> None:
    """Writes one picture, atomically."""
    figure = Figure(figsize=(4 * PANEL_INCHES + 0.6, PANEL_INCHES + 0.7), layout="constrained")
    axes = figure.subplots(1, 4)
    height, width = picture.image.shape
    aspect = picture.pixel_size[0] / picture.pixel_size[1]
    axes[0].imshow(gray(picture.image), cmap="gray", aspect=aspect)
    axes[1].imshow(picture.colors, aspect=aspect, interpolation="nearest")
    similarity = axes[2].imshow(picture.similarity, cmap="viridis", vmin=-1, vmax=1, aspect=aspect)
    figure.colorbar(similarity, ax=axes[2], shrink=0.8)
    scale = colormaps["magma"].with_extremes(bad="0.5")
    error = axes[3].imshow(picture.equivariance, cmap=scale, vmin=0, vmax=UNRELATED, aspect=aspect)
    figure.colorbar(error, ax=axes[3], shrink=0.8)
    known = picture.equivariance[np.isfinite(picture.equivariance)]
    mean = f"mean {known.mean():.3f}" if len(known) else "not known"
    titles = ("image", "features (PCA)", f"cosine to {picture.point_name}", f"equivariance error, {mean}")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=9)
        axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
    if picture.point is not None:
        for axis in (axes[0], axes[2]):
            axis.plot(picture.point[1], picture.point[0], "+", color="red", markersize=12, markeredgewidth=2)
    figure.suptitle(picture.title, fontsize=10)
    _save(figure, path)


def plot_patches(images: Sequence[np.ndarray], features: Sequence[np.ndarray], title: str, path: Path) -> None:
    """Writes patches above their features as colors, in one basis for all.

    Args:
        images: Shape (Y, X) each.
        features: Shape (Y, X, channels) each.
        title: Stands above, followed by the share of variance that the colors show.
        path: The PNG file.
    """
    basis = ColorBasis.fit([rows.reshape(-1, rows.shape[-1]) for rows in features])
    figure = Figure(figsize=(PANEL_INCHES * len(images), 2 * PANEL_INCHES + 0.5), layout="constrained")
    axes = figure.subplots(2, len(images), squeeze=False)
    for column, (image, rows) in enumerate(zip(images, features, strict=True)):
        axes[0, column].imshow(gray(image), cmap="gray")
        axes[1, column].imshow(basis.colors(rows), interpolation="nearest")
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.suptitle(f"{title}: PCA of the features, {sum(basis.explained):.0%} of the variance", fontsize=10)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH)
