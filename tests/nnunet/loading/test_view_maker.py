import re
from types import SimpleNamespace

import pytest

from nnunet_pix2rep.config import Pix2RepConfig
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.loading.view_maker import build_view_maker

AUGMENTATION = ((-0.5, 0.5), False, (0,), (0, 1))


def mirrored(axes, patch_size):
    settings = Pix2RepConfig.from_block({"pretraining": {"views": {"mirror_axes": axes}}}, "plans").pretraining
    configuration = SimpleNamespace(patch_size=patch_size, batch_size=2)
    return build_view_maker(settings, configuration, AUGMENTATION).ranges.mirror_axes


@pytest.mark.parametrize(("axes", "patch_size"), [([2], [8, 8]), ([0, 2], [8, 8]), ([1, 1], [8, 8, 8])])
def test_axes_that_a_patch_lacks_or_that_are_named_twice_are_refused(axes, patch_size):
    message = f'mirror_axes" is {axes}, but patches of this configuration have the axes 0 to {len(patch_size) - 1}'
    with pytest.raises(UserError, match=re.escape(message)):
        mirrored(axes, patch_size)


@pytest.mark.parametrize(
    ("axes", "patch_size", "expected"),
    [([2, 0], [8, 8, 8], (2, 0)), ([], [8, 8], ()), ([1], [8, 8], (1,)), (None, [8, 8], (0, 1))],
)
def test_other_axes_are_those_of_the_views(axes, patch_size, expected):
    assert mirrored(axes, patch_size) == expected
