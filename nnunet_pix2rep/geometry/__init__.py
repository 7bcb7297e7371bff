"""Random spatial transforms of 2D and 3D patches."""

from nnunet_pix2rep.geometry.grids import SpatialTransform, TransformRanges, draw_transform, identity_grid
from nnunet_pix2rep.geometry.warp import Placement, valid_points

__all__ = ["Placement", "SpatialTransform", "TransformRanges", "draw_transform", "identity_grid", "valid_points"]
