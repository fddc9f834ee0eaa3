"""Cells of tables with a row for each sample or image, and a column for each number."""

from __future__ import annotations

import math
from typing import Any

from tim3d.lazy import xarray as xr


def head(name: str, variable: xr.DataArray) -> str:
    """Name of a column, with its unit in brackets if it has one.

    >>> head("chord", xr.DataArray(2.0, attrs={"units": "nm"})), head("share", xr.DataArray(0.5))
    ('chord [nm]', 'share')
    """
    unit = str(variable.attrs.get("units", ""))
    return name if unit in ("", "1") else f"{name} [{unit}]"


def cell(value: Any) -> str:
    """Number with all its digits, or a text; empty for nan.

    >>> cell(0.1), cell(3), cell(float("nan"))
    ('0.1', '3', '')
    """
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return str(value)
