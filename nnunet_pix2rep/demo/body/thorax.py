"""What surrounds the heart of the phantom, and how a scanner shows it.

Lengths in mm in the frame of the heart: origin in its axis, x right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from scipy.ndimage import gaussian_filter

from nnunet_pix2rep.demo.body.heart import HeartSlice


class Tissue(IntEnum):
    """Everything that has a brightness of its own."""

    AIR, LUNG, WALL, FAT, LIVER, BONE, MARROW, STOMACH, MUSCLE, BLOOD = range(10)


# Ranges of brightness, as a balanced steady-state sequence might show them; bright confounders overlap with blood, the
# gray ones with the myocardium.
BRIGHTNESS = {
    Tissue.AIR: (0.0, 0.02),
    Tissue.LUNG: (0.05, 0.16),
    Tissue.WALL: (0.22, 0.5),
    Tissue.FAT: (0.45, 1.0),
    Tissue.LIVER: (0.22, 0.6),
    Tissue.BONE: (0.08, 0.25),
    Tissue.MARROW: (0.35, 0.7),
    Tissue.STOMACH: (0.15, 0.95),
    Tissue.MUSCLE: (0.24, 0.46),
    Tissue.BLOOD: (0.62, 0.95),
}


@dataclass(frozen=True)
class Disc:
    """An ellipse of tissue, with a wall of another where ``wall`` (mm) is above 0."""

    x: float
    y: float
    radius: float
    ratio: float
    tissue: Tissue
    wall: float = 0.0
    wall_tissue: Tissue = Tissue.WALL
    drift: float = 0.0  # in x, from the base to the apex


@dataclass(frozen=True)
class Thorax:
    """One patient's surroundings of the heart.

    Attributes:
        center: Of the rib cage's ellipse.
        semi_axes: Of that ellipse.
        wall: Thickness of the chest wall, then of the fat under the skin.
        num_ribs: Ribs around the whole ellipse, and where the first is (radians).
        diaphragm: Height of the liver at the base, its rise to the apex, and its slope.
        discs: Vessels, stomach, vertebra.
        fat_amount: Part of the pericardium that is fat.
    """

    center: tuple[float, float]
    semi_axes: tuple[float, float]
    wall: tuple[float, float]
    num_ribs: int
    first_rib: float
    diaphragm: tuple[float, float, float]
    discs: tuple[Disc, ...]
    fat_amount: float


def draw_thorax(generator: np.random.Generator) -> Thorax:
    """Draws the surroundings of a heart."""
    uniform = generator.uniform
    aorta = Disc(uniform(40, 56), uniform(26, 45), uniform(8, 11), uniform(0.9, 1.1), Tissue.BLOOD, 1.5)
    vertebra = Disc(uniform(53, 70), uniform(48, 63), uniform(13, 17), uniform(0.8, 1.2), Tissue.MARROW, 3, Tissue.BONE)
    # A bright content in a gray wall: the left ventricle's double.
    stomach = Disc(uniform(13, 43), uniform(50, 67), uniform(10, 19), uniform(0.7, 1.3), Tissue.STOMACH, uniform(3, 7))
    lung_vessels = [
        Disc(*_outside_of_heart(generator), uniform(2, 7), uniform(0.6, 1.4), Tissue.BLOOD, drift=uniform(-25, 25))
        for _ in range(generator.integers(3, 8))
    ]
    liver_vessels = [
        Disc(uniform(-65, 5), uniform(48, 80), uniform(2, 6), uniform(0.5, 1.5), Tissue.BLOOD, drift=uniform(-25, 25))
        for _ in range(generator.integers(2, 6))
    ]
    return Thorax(
        center=(uniform(6, 18), uniform(6, 18)),
        semi_axes=(uniform(72, 90), uniform(57, 72)),
        wall=(uniform(6, 12), uniform(4, 14)),
        num_ribs=int(generator.integers(9, 16)),
        first_rib=uniform(0, 2 * np.pi),
        diaphragm=(uniform(38, 52), uniform(2, 12), uniform(0.1, 0.5)),
        discs=(*lung_vessels, *liver_vessels, stomach, aorta, vertebra),
        fat_amount=uniform(0.1, 0.75),
    )


def _outside_of_heart(generator: np.random.Generator) -> tuple[float, float]:
    angle, distance = generator.uniform(0, 2 * np.pi), generator.uniform(45, 73)
    return distance * np.cos(angle), distance * np.sin(angle)


def tissue_map(
    thorax: Thorax, heart: HeartSlice, t: float, x: np.ndarray, y: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """The tissue at points (x, y) of a slice at ``t``; the heart covers what lies behind it."""
    tissue = np.full(x.shape, Tissue.LUNG, dtype=np.uint8)
    height, rise, slope = thorax.diaphragm
    tissue[y > height - rise * t + slope * x + 0.004 * x**2] = Tissue.LIVER
    for disc in thorax.discs:
        radius = np.hypot(x - disc.x - disc.drift * t, (y - disc.y) * disc.ratio)
        tissue[radius < disc.radius + disc.wall] = disc.wall_tissue
        tissue[radius < disc.radius] = disc.tissue
    relative_x, relative_y = (x - thorax.center[0]) / thorax.semi_axes[0], (y - thorax.center[1]) / thorax.semi_axes[1]
    beyond_ribs = (np.hypot(relative_x, relative_y) - 1) * min(thorax.semi_axes)
    tissue[beyond_ribs > 0] = Tissue.WALL
    rib = (np.arctan2(relative_y, relative_x) - thorax.first_rib - t) * thorax.num_ribs
    tissue[(np.abs(beyond_ribs - 5) < 3.5) & (np.cos(rib) > 0.3)] = Tissue.BONE
    tissue[(np.abs(beyond_ribs - 5) < 1.5) & (np.cos(rib) > 0.5)] = Tissue.MARROW
    tissue[beyond_ribs > thorax.wall[0]] = Tissue.FAT
    tissue[beyond_ribs > sum(thorax.wall)] = Tissue.AIR
    patches = gaussian_filter(generator.standard_normal(x.shape), x.shape[0] / 20)
    fat = patches > np.quantile(patches, 1 - thorax.fat_amount)
    tissue[heart.pericardium & fat] = Tissue.FAT
    tissue[heart.pericardium & ~fat & (tissue == Tissue.LIVER)] = Tissue.LUNG
    tissue[heart.muscle] = Tissue.MUSCLE
    tissue[heart.blood] = Tissue.BLOOD
    return tissue


@dataclass(frozen=True)
class Scanner:
    """How one examination shows tissue.

    Attributes:
        brightness: Of every tissue.
        texture: Standard deviation of every tissue's texture.
        blur: Width of the point spread function in pixels.
        bias: Coefficients of x, y, x^2, y^2, xy in the logarithm of the bias field, over the field of view.
        noise: Standard deviation of the noise in both parts of the complex image.
        gain: Brightest gray value.
    """

    brightness: tuple[float, ...]
    texture: tuple[float, ...]
    blur: float
    bias: tuple[float, ...]
    noise: float
    gain: float


def draw_scanner(generator: np.random.Generator) -> Scanner:
    """Draws the appearance of one examination."""
    return Scanner(
        brightness=tuple(generator.uniform(*BRIGHTNESS[tissue]) for tissue in Tissue),
        texture=tuple(generator.uniform(0.02, 0.10, len(Tissue))),
        blur=generator.uniform(0.4, 0.9),
        bias=tuple(generator.uniform(-1, 1, 5) * (0.45, 0.45, 0.25, 0.25, 0.25)),
        noise=generator.uniform(0.015, 0.06),
        gain=generator.uniform(200, 900),
    )


def scan(tissue: np.ndarray, scanner: Scanner, oversampling: int, generator: np.random.Generator) -> np.ndarray:
    """The image of a tissue map, whose side lengths are ``oversampling`` times those of the image; float32."""
    texture = gaussian_filter(generator.standard_normal(tissue.shape), 2 * oversampling)
    fine = np.take(scanner.brightness, tissue) * (1 + np.take(scanner.texture, tissue) * texture / texture.std())
    rows, columns = (length // oversampling for length in tissue.shape)
    image = fine.reshape(rows, oversampling, columns, oversampling).mean(axis=(1, 3))
    image = gaussian_filter(image, scanner.blur)
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    image *= np.exp(np.tensordot(scanner.bias, np.stack([x, y, x**2, y**2, x * y]), axes=1))
    in_phase, quadrature = generator.normal(0, scanner.noise, (2, *image.shape))
    return (np.hypot(image + in_phase, quadrature) * scanner.gain).astype(np.float32)
