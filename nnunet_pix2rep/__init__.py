"""Pix2Rep: self-supervised pixel-level pretraining of the network that nnU-Net planned for a dataset."""

from pathlib import Path

__version__ = "0.1.0"

# A checkout has trainers/ and dataset_conversion/ beside this folder, a wheel inside it. ``python -m`` typed in a
# checkout imports the checkout's package whatever is installed, so it must find them too.
_checkout = Path(__file__).resolve().parents[1]
if (_checkout / "pyproject.toml").is_file() and (_checkout / "dataset_conversion").is_dir():
    __path__.append(str(_checkout))
