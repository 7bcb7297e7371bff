"""Whether features move with the image."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from nnunet_pix2rep.geometry.grids import SpatialTransform
from nnunet_pix2rep.geometry.warp import valid_points, warp


def equivariance_error(
    features: torch.Tensor, features_of_warped: torch.Tensor, transform: SpatialTransform
) -> torch.Tensor:
    """How far the features of a warped image are from the warped features of the image, pixel by pixel.

    The measure is that of :func:`nnunet_pix2rep.diagnostics.embeddings.alignment`: the squared distance of normalized
    features, 0 for equivariant features, 2 for unrelated ones, 4 at most.

    Args:
        features: Features of the image, shape (d, *S), float.
        features_of_warped: Features of the image warped by ``transform``, same shape.
        transform: Takes points of the warped image to points of the image; as many axes as S.

    Returns:
        Shape S, float32; NaN where the warped image shows what lies outside of the image.
    """
    grid = transform.grid(features.shape[1:]).to(features.device)
    whole = torch.ones(2, grid.shape[-1], device=grid.device) * torch.tensor([[-1.0], [1.0]], device=grid.device)
    valid = valid_points(grid.flatten(0, -2), whole).reshape(grid.shape[:-1])
    warped = normalize(warp(features.float(), grid), dim=0)
    error = (warped - normalize(features_of_warped.float(), dim=0)).square().sum(dim=0)
    return error.masked_fill(~valid, torch.nan)
