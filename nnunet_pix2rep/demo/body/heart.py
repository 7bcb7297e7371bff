"""The anatomy of the phantom: a left and a right ventricle, cut into short-axis slices.

Lengths in mm, angles in radians; x points right, y down, t from the base (0) to the apex (1) of the heart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

BACKGROUND, RV, MYOCARDIUM, LV = range(4)  # nnU-Net's order of the ACDC labels

# Pathologies as in ACDC: ranges of the cavity's radius, the wall's thickness, the size of the RV relative to the LV and
# the part of the radius that is left at end-systole.
GROUPS = {
    "normal": ((17, 21), (6.0, 8.0), (0.85, 1.05), (0.60, 0.72)),
    "dilated": ((22, 26), (5.0, 6.5), (0.75, 0.95), (0.80, 0.92)),
    "hypertrophic": ((14, 18), (9.0, 12.5), (0.8, 1.0), (0.45, 0.60)),
    "abnormal_rv": ((16, 19), (5.5, 7.5), (1.15, 1.4), (0.62, 0.78)),
}
APICAL_END_OF_RV = 0.85
PAPILLARY_RANGE = (0.25, 0.75)


@dataclass(frozen=True)
class Heart:
    """One heart at end-diastole.

    Attributes:
        radius: Of the LV cavity at the base.
        wall: Thickness of the myocardium at the base.
        rv_size: Size of the RV relative to the LV with its wall.
        rv_angle: Direction from the LV to the RV.
        contraction: What end-systole leaves of the radius.
        thickening: Factor of the wall at end-systole.
        shortening: How far the base moves towards the apex at end-systole, in lengths of the heart.
        ellipticity: Amplitude of the cavity's second harmonic; then third and fourth.
        phases: Directions of these harmonics, then of the thickest wall.
        twist: Rotation from base to apex.
        drift: Shift (x, y) of the axis from base to apex.
        papillary_angles: Directions of the two papillary muscles.
        base: What is seen beyond the base: the position of the first slice can lie there at end-systole.
    """

    radius: float
    wall: float
    rv_size: float
    rv_angle: float
    contraction: float
    thickening: float
    shortening: float
    ellipticity: tuple[float, float, float]
    phases: tuple[float, float, float, float]
    twist: float
    drift: tuple[float, float]
    papillary_angles: tuple[float, float]
    papillary_radius: float


def draw_heart(group: str, generator: np.random.Generator) -> Heart:
    """Draws a heart of one of the GROUPS."""
    radius, wall, rv_size, contraction = (generator.uniform(*limits) for limits in GROUPS[group])
    rv_angle = np.pi + generator.uniform(-0.2, 0.7)
    return Heart(
        radius=radius,
        wall=wall,
        rv_size=rv_size,
        rv_angle=rv_angle,
        contraction=contraction,
        thickening=generator.uniform(1.1, 1.4),
        shortening=generator.uniform(0.03, 0.12),
        ellipticity=tuple(generator.normal(0, (0.06, 0.03, 0.02))),
        phases=tuple(generator.uniform(0, 2 * np.pi, 4)),
        twist=generator.uniform(-0.3, 0.3),
        drift=tuple(generator.uniform(-8, 8, 2)),
        papillary_angles=tuple(rv_angle + np.array([1.9, -1.9]) + generator.normal(0, 0.25, 2)),
        papillary_radius=generator.uniform(0.12, 0.22),
    )


def at_end_systole(heart: Heart) -> Heart:
    """The same heart, contracted."""
    return replace(
        heart,
        radius=heart.radius * heart.contraction,
        wall=heart.wall * heart.thickening,
        rv_size=heart.rv_size * (0.6 + 0.4 * heart.contraction),
    )


@dataclass(frozen=True)
class HeartSlice:
    """What a short-axis slice shows of the heart; boolean arrays on the grid of points.

    Attributes:
        label: BACKGROUND, RV, MYOCARDIUM or LV; uint8.
        blood: Lit by blood: cavities without papillary muscles, or an atrium.
        muscle: The myocardium with papillary muscles and the thin, unlabeled wall of the RV.
        pericardium: Within a few mm of the heart, where there may be fat.
    """

    label: np.ndarray
    blood: np.ndarray
    muscle: np.ndarray
    pericardium: np.ndarray


def cut_heart(heart: Heart, t: float, x: np.ndarray, y: np.ndarray) -> HeartSlice:
    """Cuts a heart at ``t`` (below 0: beyond the base, where the atria are) and evaluates it at points (x, y)."""
    depth = max(t, 0.0)
    x, y = x - heart.drift[0] * depth, y - heart.drift[1] * depth
    distance, angle = np.hypot(x, y), np.arctan2(y, x) - heart.twist * depth
    profile = np.sqrt(1 - (0.93 * depth) ** 2)
    harmonics = sum(
        size * np.cos(order * (angle - phase))
        for order, size, phase in zip((2, 3, 4), heart.ellipticity, heart.phases, strict=False)
    )
    cavity = heart.radius * profile * (1 + harmonics)
    wall = heart.wall * (1 - 0.3 * depth) * (1 + 0.2 * np.cos(angle - heart.phases[3]))
    inside, within_wall = distance < cavity, distance < cavity + wall
    rv_distance = _distance_to_rv(heart, depth, angle, distance)
    rv = (rv_distance < 0) & ~within_wall
    rv_wall = (rv_distance < 2.5) & ~rv & ~within_wall
    pericardium = (distance < cavity + wall + 7) | (rv_distance < 7)
    if t < 0:
        # Beyond the valves there are atria: as bright as the ventricles, with thin walls, and labeled by nobody.
        nothing = np.zeros(x.shape, dtype=bool)
        atria = (distance < cavity + 0.5 * wall) | (rv_distance < -2)
        return HeartSlice(nothing.astype(np.uint8), atria, within_wall & ~atria, pericardium)
    label = np.select([inside, within_wall, rv], [LV, MYOCARDIUM, RV], BACKGROUND).astype(np.uint8)
    papillary = inside & _papillary_muscles(heart, depth, profile, angle, distance)
    return HeartSlice(label, (inside & ~papillary) | rv, (within_wall & ~inside) | papillary | rv_wall, pericardium)


def _distance_to_rv(heart: Heart, depth: float, angle: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Roughly the distance to an ellipse beside the LV, whose part outside the LV is the crescent of the RV."""
    size = heart.rv_size * np.sqrt(max(1 - (depth / APICAL_END_OF_RV) ** 2, 0.0))
    if size < 0.2:
        return np.full(distance.shape, np.inf)
    outer = heart.radius * np.sqrt(1 - (0.93 * depth) ** 2) + heart.wall
    along, across = distance * np.cos(angle - heart.rv_angle), distance * np.sin(angle - heart.rv_angle)
    semi_along, semi_across = size * outer * 0.72, size * outer * 1.2
    # The center is such that the crescent is about a cavity's radius thick in the middle.
    center = outer - 0.05 * semi_along
    relative = np.hypot((along - center) / semi_along, across / semi_across)
    return (relative - 1) * semi_along


def _papillary_muscles(
    heart: Heart, depth: float, profile: float, angle: np.ndarray, distance: np.ndarray
) -> np.ndarray:
    muscles = np.zeros(angle.shape, dtype=bool)
    if not PAPILLARY_RANGE[0] < depth < PAPILLARY_RANGE[1]:
        return muscles
    radius = heart.radius * profile
    for direction in heart.papillary_angles:
        # Law of cosines: distance to a point at 0.65 of the cavity's radius.
        center = 0.65 * radius
        squared = distance**2 + center**2 - 2 * distance * center * np.cos(angle - direction)
        muscles |= squared < (heart.papillary_radius * radius) ** 2
    return muscles
