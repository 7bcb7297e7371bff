import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from tiny_training import ThreadContext

NnUNetVerify = Callable[[Path], None]


@pytest.fixture
def verify(monkeypatch) -> NnUNetVerify:
    """nnU-Net's own check of a raw dataset, in this process."""
    monkeypatch.setattr(multiprocessing, "get_context", lambda _method=None: ThreadContext)

    def run(folder: Path) -> None:
        from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

        verify_dataset_integrity(str(folder), num_processes=1)

    return run


@pytest.fixture
def write_volume() -> Callable[..., np.ndarray]:
    """Writes an array of axes ([t,] z, y, x) as an image file."""

    def write(path: Path, voxels, spacing=(1.5, 1.5, 10.0), origin=(5.0, -6.0, 7.0), direction=None) -> np.ndarray:
        path.parent.mkdir(parents=True, exist_ok=True)
        voxels = np.asarray(voxels)
        if voxels.ndim == 4:
            frames = [SimpleITK.GetImageFromArray(frame) for frame in voxels]
            image = SimpleITK.JoinSeries(frames)
            image.SetSpacing((*spacing, 1.0))
            image.SetOrigin((*origin, 0.0))
            if direction is not None:
                four = np.eye(4)
                four[:3, :3] = np.reshape(direction, (3, 3))
                image.SetDirection(four.ravel().tolist())
        else:
            image = SimpleITK.GetImageFromArray(voxels)
            image.SetSpacing(spacing)
            image.SetOrigin(origin)
            if direction is not None:
                image.SetDirection(direction)
        SimpleITK.WriteImage(image, str(path), True)
        return voxels

    return write
