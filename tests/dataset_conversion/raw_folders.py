import json
from pathlib import Path

import numpy as np
import SimpleITK


def read(path: Path) -> tuple[np.ndarray, SimpleITK.Image]:
    image = SimpleITK.ReadImage(str(path))
    return SimpleITK.GetArrayFromImage(image), image


def names(folder: Path) -> set[str]:
    """File names without the channel and the file ending."""
    if not folder.is_dir():
        return set()
    return {path.name.removesuffix(".nii.gz").removesuffix("_0000") for path in folder.iterdir()}


def patients_of(folder: Path) -> dict:
    return json.loads((folder / "patients.json").read_text())


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
