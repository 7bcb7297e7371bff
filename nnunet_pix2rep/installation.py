"""Where the parts of this package lie on disk."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from nnunet_pix2rep.errors import UserError


def trainers_folder() -> Path:
    """The folder for nnU-Net's environment variable ``nnUNet_extTrainer``: it holds ``nnUNetTrainerPix2Rep*.py``.

    The folder is located without importing a trainer, because nnU-Net's resolver imports those modules itself, under
    their top-level names (nnunetv2/utilities/find_class_by_name.py).

    Returns:
        The absolute path: inside site-packages for a wheel, ``trainers/`` of the checkout for an editable installation
        and for a checkout that is used through ``PYTHONPATH``.

    Raises:
        UserError: the trainers are not there.
    """
    spec = importlib.util.find_spec("nnunet_pix2rep.trainers")
    # A folder without __init__.py, such as a leftover with nothing but __pycache__, is found too, but has no origin.
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).resolve().parent
    raise UserError(
        f"There is no package nnunet_pix2rep.trainers in {Path(__file__).parent}. "
        "Install the package again: pip install --force-reinstall nnunet_pix2rep"
    )
