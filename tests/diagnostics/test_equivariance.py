import numpy as np
import pytest
import torch

from nnunet_pix2rep.diagnostics.equivariance import equivariance_error
from nnunet_pix2rep.geometry.grids import SpatialTransform, TransformRanges, draw_transform
from nnunet_pix2rep.geometry.warp import warp


def test_the_equivariance_error_is_zero_for_the_identity():
    features = torch.randn(4, 9, 12, generator=torch.Generator().manual_seed(0))
    identity = SpatialTransform(torch.eye(2), torch.zeros(2))
    error = equivariance_error(features, features, identity)
    torch.testing.assert_close(error, torch.zeros(9, 12), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(24, 20), (10, 12, 14)])
def test_features_that_follow_the_image_have_no_equivariance_error_and_others_have(size):
    """The features here are the image itself, so warping commutes with taking them."""
    image = torch.randn(3, *size, generator=torch.Generator().manual_seed(0))
    ranges = TransformRanges(rotation=(0.3, 0.5), zoom=(0.8, 1.2), translation=0.1)
    transform = draw_transform(ranges, size, np.random.default_rng(0))
    warped = warp(image, transform.grid(size))
    error = equivariance_error(image, warped, transform)
    assert error.isnan().any()
    assert float(error.nan_to_num().abs().max()) < 1e-5
    assert float(equivariance_error(image, image, transform).nanmean()) > 1
