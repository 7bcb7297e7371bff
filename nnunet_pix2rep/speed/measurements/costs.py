"""What head and loss cost: against the dense reference, and against the number of pixels, the image and the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from nnunet_pix2rep.config import PretrainingConfig
from nnunet_pix2rep.losses.barlow_twins import BarlowTwinsLoss
from nnunet_pix2rep.losses.info_nce import InfoNCELoss
from nnunet_pix2rep.losses.pairs import PairLoss
from nnunet_pix2rep.nnunet.loading.view_maker import points_per_patch
from nnunet_pix2rep.projection_head import ProjectionHead
from nnunet_pix2rep.speed.measurements.paths import dense_path, draw_pairs, sampled_path
from nnunet_pix2rep.speed.timing.measure import alternate, fit_exponent, median_ratio, medians, peak_memory
from nnunet_pix2rep.speed.timing.timer import Timer

NARROW_CHANNELS = 32  # features of nnU-Net's last decoder stage
EXACT_LOSS_MAX_POINTS = 16384  # InfoNCE with all negatives takes minutes beyond
MapShapes = Sequence[tuple[int, ...]]
Measurement = dict[str, Any]


def losses_of(config: PretrainingConfig) -> dict[str, PairLoss]:
    """Name in the results -> loss: both papers' losses, InfoNCE as configured and with all negatives."""
    losses: dict[str, PairLoss] = {"barlow_twins": BarlowTwinsLoss.from_config(config)}
    if config.info_nce.negatives is not None:
        losses[f"info_nce, {config.info_nce.negatives} negatives"] = InfoNCELoss.from_config(config)
    of_all = replace(config.info_nce, negatives=None)
    losses["info_nce, all negatives"] = InfoNCELoss.from_config(replace(config, info_nce=of_all))
    return losses


def make_paths(
    map_shapes: MapShapes,
    batch_size: int,
    num_points: int,
    loss: PairLoss,
    config: PretrainingConfig,
    device: torch.device,
) -> dict[str, Callable[[], None]]:
    """Both paths, forward and backward, on random feature maps of both views.

    Args:
        map_shapes: (C_i, *S_i) of every feature map, the last one of the size of the image.
        batch_size: Number B of images.
        num_points: Pixel pairs of the batch, shared by its images as in a training.
        loss: The loss.
        config: Sizes of the head.
        device: Where to compute.
    """
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2 * batch_size, *shape, generator=generator) for shape in map_shapes]
    maps = [feature_map.to(device).requires_grad_() for feature_map in maps]
    channels = sum(shape[0] for shape in map_shapes)
    head = ProjectionHead(channels, config.head.hidden_channels, config.head.channels).to(device)
    pairs = draw_pairs(batch_size, map_shapes[-1][1:], points_per_patch(num_points, batch_size)).to(device)
    points = pairs.points()

    def run(path: Callable[..., torch.Tensor], pixels: Any) -> None:
        path(maps, pixels, head, loss).backward()
        for tensor in (*maps, *head.parameters()):
            tensor.grad = None

    return {"sampled": lambda: run(sampled_path, points), "dense": lambda: run(dense_path, pairs)}


def measure_head_and_loss(
    map_shapes: Mapping[str, MapShapes],
    batch_size: int,
    config: PretrainingConfig,
    repetitions: int,
    device: torch.device,
    timer: Timer,
) -> list[Measurement]:
    """Time and peak memory of the sampled against the dense path, for each choice of features and each loss.

    Args:
        map_shapes: Feature maps by name, such as ``hypercolumn``.
        batch_size: Images of each of the two views.
        config: Number of pixel pairs, sizes of the head, losses.
        repetitions: Timed calls of each path.
        device: Where to compute.
        timer: Takes the time.
    """
    results = []
    for features, shapes in map_shapes.items():
        for name, loss in losses_of(config).items():
            paths = make_paths(
                shapes, batch_size, num_points=config.sampling.num_points, loss=loss, config=config, device=device
            )
            seconds = alternate(paths, repetitions, timer, f"head_and_loss, {features}, {name}")
            memory = {path: peak_memory(function, device) for path, function in paths.items()}
            results.append(
                {
                    "features": features,
                    "loss": name,
                    "channels": sum(shape[0] for shape in shapes),
                    "patch": list(shapes[-1][1:]),
                    "batch_size": batch_size,
                    "pixel_pairs": batch_size * points_per_patch(config.sampling.num_points, batch_size),
                    "seconds": medians(seconds),
                    "peak_bytes": memory,
                    "speed_up": median_ratio(seconds["dense"], seconds["sampled"]),
                    "memory_ratio": memory["sampled"] / memory["dense"],
                }
            )
    return results


def measure_scaling(
    max_points: int,
    patch_width: int,
    batch_size: int,
    config: PretrainingConfig,
    repetitions: int,
    device: torch.device,
    timer: Timer,
) -> list[Measurement]:
    """Cost of gather, head and loss on one 2D feature map against what it may grow with, with fitted exponents.

    Sampled pixel pairs grow from 1024 fourfold up to ``max_points``, at a fixed image and batch; the width of the image
    from a quarter to twice ``patch_width``, and the batch from a quarter to twice ``batch_size``, at a fixed number of
    pairs. All sizes and losses take turns.
    """
    points = [*(4**power for power in range(5, 10) if 4**power < max_points), max_points]
    widths = [patch_width // 4, patch_width // 2, patch_width, 2 * patch_width]
    batches = sorted({max(1, batch_size // 4), max(1, batch_size // 2), batch_size, 2 * batch_size})
    series = {
        "sampled pixels": [(number, patch_width, batch_size, number) for number in points],
        "pixels of the image": [(width**2, width, batch_size, config.sampling.num_points) for width in widths],
        "batch size": [(batch, patch_width, batch, config.sampling.num_points) for batch in batches],
    }
    results = []
    for name, loss in losses_of(config).items():
        is_exact = isinstance(loss, InfoNCELoss) and loss.negatives is None
        for against, settings in series.items():
            chosen = [item for item in settings if not is_exact or item[3] <= EXACT_LOSS_MAX_POINTS]
            paths = {
                str(size): make_paths(
                    [(NARROW_CHANNELS, width, width)], batch, num_points=number, loss=loss, config=config, device=device
                )["sampled"]
                for size, width, batch, number in chosen
            }
            seconds = medians(alternate(paths, repetitions, timer, f"scaling, {name}, {against}"))
            memory = {size: peak_memory(function, device) for size, function in paths.items()}
            sizes = [size for size, *_ in chosen]
            results.append(
                {
                    "loss": name,
                    "against": against,
                    "sizes": sizes,
                    "seconds": list(seconds.values()),
                    "peak_bytes": list(memory.values()),
                    "time_exponent": fit_exponent(sizes, list(seconds.values())),
                    "memory_exponent": fit_exponent(sizes, list(memory.values())),
                }
            )
    return results
