import os
from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the Sunnybrook and hippocampus data."""
    folder = Path(os.environ.get("PIX2REP_DATA", PROJECT_ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(
            f"real data not found at {folder}: set PIX2REP_DATA to the folder that holds sunnybrook/ and hippocampus/"
        )
    return folder
