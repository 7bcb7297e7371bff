"""How much each pixel counts: most pixels of a scan are not the structure, and averages describe table and scanner."""

from __future__ import annotations

import torch

REFERENCE_PIXELS = 2048
DENSE_SHARE = 0.05
PIXELS_AT_ONCE = 2**14
SHARPNESS = 0.1


def distinctive_weights(features: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Weighs a pixel by how few pixels are like it.

    Args:
        features: Shape (N, P, d), of unit length.
        generator: Draws the pixels that all are compared with.

    Returns:
        Shape (N, P): 1 minus the mean cosine with the most similar 5 % of 2,048 pixels of all slices, 0 to 1.
    """
    pixels = features.flatten(0, 1)
    drawn = torch.randperm(len(pixels), generator=generator)[:REFERENCE_PIXELS]
    references = pixels[drawn].T
    nearest = max(1, round(DENSE_SHARE * references.shape[1]))
    parts = [(part @ references).topk(nearest, dim=1).values.mean(dim=1) for part in pixels.split(PIXELS_AT_ONCE)]
    return (1 - torch.cat(parts)).clamp(0, 1).reshape(features.shape[:2])


def center_weights(places: torch.Tensor) -> torch.Tensor:
    """Weighs a pixel by how near it is to the middle of its slice.

    Args:
        places: Shape (N, P, 2): relative to the slice, 0 to 1.

    Returns:
        Shape (N, P): 1 in the middle, falling as a Gaussian of a quarter of the width.
    """
    return torch.exp(-((places - 0.5) ** 2).sum(dim=-1) / (2 * 0.25**2))


def similarity_weights(features: torch.Tensor, examples: torch.Tensor, sharpness: float = SHARPNESS) -> torch.Tensor:
    """Weighs a pixel by its similarity to examples of the structure.

    Args:
        features: Shape (N, P, d), of unit length.
        examples: Shape (M, d), of unit length.
        sharpness: A cosine of s below 1 weighs exp((s - 1) / sharpness).

    Returns:
        Shape (N, P), by the most similar example, above 0 to 1.
    """
    pixels = features.flatten(0, 1)
    parts = [(part @ examples.T).amax(dim=1) for part in pixels.split(PIXELS_AT_ONCE)]
    return torch.exp((torch.cat(parts) - 1) / sharpness).reshape(features.shape[:2])
