"""Shared fixtures: where the real data is, and quiet single-threaded libraries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data sets, or a skip that says where it was looked for."""
    folder = Path(os.environ.get("TIM3D_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set TIM3D_DATA to its folder")
    return folder
