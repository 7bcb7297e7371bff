"""Finds the packages and prepares README.md for PyPI; everything else is in pyproject.toml.

``packages.find`` of pyproject.toml cannot do the first: trainers/ and dataset_conversion/ are installed under other
names than their folders have (``package-dir`` in pyproject.toml).
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
LINK = re.compile(r"(!?)(\[[^\]]*\]\()(?!\w+:|#)([^)]+\))")


def readme_for_pypi() -> str:
    """README.md with links to the files of this version, which PyPI does not have.

    They lead to the repository that pyproject.toml names, at the tag of the version. While it names none, links stay.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    repository = re.search(r'^Repository = "(.+?)/?"$', project, re.MULTILINE)
    if repository is None:
        return text
    package = (ROOT / "nnunet_pix2rep" / "__init__.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'^__version__ = "(.+)"$', package, re.MULTILINE)

    def absolute(match: re.Match) -> str:
        kind = "raw" if match[1] else "blob"
        return f"{match[1]}{match[2]}{repository[1]}/{kind}/v{version}/{match[3]}"

    return LINK.sub(absolute, text)


setup(
    packages=[
        *find_packages(include=["nnunet_pix2rep*"]),
        "nnunet_pix2rep.trainers",
        "nnunet_pix2rep.dataset_conversion",
    ],
    long_description=readme_for_pypi(),
    long_description_content_type="text/markdown",
)
