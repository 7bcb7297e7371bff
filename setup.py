"""Finds the packages; everything else is in pyproject.toml.

``packages.find`` of pyproject.toml cannot do it: trainers/ and dataset_conversion/ are installed under other names than
their folders have (``package-dir`` in pyproject.toml).
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["nnunet_pix2rep*"]),
        "nnunet_pix2rep.trainers",
        "nnunet_pix2rep.dataset_conversion",
    ]
)
