"""Files made by the libraries of the field are read as they are meant, or refused with what to type."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.variants import TABLE, Variant, rows
from tim3d.errors import Tim3dError
from tim3d.sources import open_source

DOCS = Path(__file__).parents[2] / "docs" / "variants.md"


def read_whole(spec: Path, options: dict[str, Any]) -> np.ndarray:
    source = open_source(spec, **options)
    return source.read(0, source.shape[0])


@pytest.mark.parametrize(
    "variant", TABLE, ids=lambda v: f"{v.kind}-{v.what}-{v.typed}".replace(" ", "_")
)
def test_a_file_is_read_as_it_is_meant_or_refused(variant: Variant, tmp_path: Path):
    for package in variant.needs:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    spec = variant.write(tmp_path)
    if variant.refused:
        with pytest.raises(Tim3dError, match=variant.refused) as caught:
            read_whole(spec, variant.options)
        assert "\n" not in str(caught.value)
        return
    source = open_source(spec, **variant.options)
    for seen, size in zip(source.voxel_size_nm, variant.size, strict=True):
        assert seen is size if size is None else seen == pytest.approx(size, rel=1e-6)
    assert (
        re.search(variant.remark, " ".join(source.remarks))
        if variant.remark
        else not source.remarks
    )
    expected = variant.values
    assert (source.shape, source.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(source.read(0, source.shape[0]), expected)
    for z, plane in enumerate(expected):
        np.testing.assert_array_equal(source.read(z, z + 1)[0], plane)


def test_the_table_of_the_documentation_is_this_one():
    text = DOCS.read_text()
    assert len(TABLE) > 60
    assert "\n".join(rows()) in text, "renew it: python -m tests.variants"


ONE_OF_EACH = {v.kind: v for v in reversed(TABLE) if not v.refused}
CHUNKED = {"HDF5", "VTK-HDF", "Imaris", "OME-Zarr", "N5"}


@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_what_does_not_belong_to_a_format_is_refused_and_not_left_unused(kind: str, tmp_path: Path):
    variant = ONE_OF_EACH[kind]
    for package in variant.needs:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    spec = variant.write(tmp_path)
    asked: dict[str, tuple[Any, str]] = {
        "dataset": ("nothing", "--dataset nothing names an array|'nothing'|by its number"),
        "shape": ((1, 1, 1), "--shape and --dtype describe a raw file|has 2880 bytes"),
        "dtype": ("float64", "--shape and --dtype describe a raw file|has 2880 bytes"),
        "missing_chunks": ("fill", "--missing-chunks is about"),
    }
    for name, (value, said) in asked.items():
        if name == "missing_chunks" and kind in CHUNKED:
            assert open_source(spec, **variant.options, missing_chunks=value).shape
            continue
        with pytest.raises(Tim3dError, match=said):
            open_source(spec, **variant.options | {name: value})
