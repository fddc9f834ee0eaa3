"""Whatever bytes a file of weights of another program holds, it is read or refused by name."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tim3d.errors import CheckpointError
from tim3d.models.generation.official import read_parameters, read_state
from tim3d.models.promptable.foreign_file import read_foreign
from tim3d.models.segmentation.state_dicts import read_state_dict

READERS: tuple[Callable[[Path], Any], ...] = (
    read_parameters,
    read_state,
    read_foreign,
    read_state_dict,
)


def saved(zipped: bool) -> bytes:
    """A file of torch, in its form of today or of before 2020."""
    held = io.BytesIO()
    torch.save({"a.weight": torch.ones(3, 2)}, held, _use_new_zipfile_serialization=zipped)
    return held.getvalue()


FILES = (saved(True), saved(False), b"\x80\x02]q\x00(K\x01K\x02e.", b"sample,porosity\ns1,0.5\n")


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A file of weights, a list of numbers or a table, with bytes changed and an end cut off."""
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(1, len(data)))])


@pytest.mark.parametrize("read", READERS)
@given(data=damaged() | st.binary(max_size=60))
def test_a_file_of_weights_is_read_or_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, read: Callable[[Path], Any], data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / f"{read.__name__}.pt"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read(path)
        except CheckpointError as error:
            assert path.name in str(error)  # noqa: PT017 - it may be readable as well
