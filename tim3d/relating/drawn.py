"""Spread of slopes and of Q² that the uncertainties of columns cause, by drawing the columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tim3d.errors import InputError
from tim3d.kernels.statistics.model_search import Subset
from tim3d.kernels.statistics.regression import F64, Fit, r_squared
from tim3d.lazy import xarray as xr
from tim3d.relating.problem import ERROR, Problem
from tim3d.relating.question import Question


def spreads(found: Problem, question: Question, chosen: Subset) -> dict[str, Any]:
    """Standard deviations of the slopes and of Q² of the chosen model over drawn columns.

    A column and its standard uncertainty, ``NAME_error``, give a normal law for every sample; what is
    made of columns is made again. Empty if no column that the model needs has an uncertainty.

    Raises
    ------
    InputError
        If an uncertainty is negative or missing.
    """
    names = [found.names[n] for n in chosen]
    columns = _columns(found, question, names)
    errors = {c: _errors(found.table, c) for c in columns if c + ERROR in found.table}
    if not errors:
        return {}
    rng = np.random.default_rng(question.seed)
    fits = [_fit(found, question, names, errors, rng) for _ in range(question.draws)]
    kept = [f for f in fits if f is not None]
    if len(kept) < 2:
        raise InputError(
            f"the uncertainties of {', '.join(errors)} are so large that no feature is defined: look at their columns"
        )
    slopes = np.array([f.slopes for f in kept])
    q2 = [r_squared(f.y, f.left_out) for f in kept]
    return {
        "slope_spread": slopes.std(axis=0, ddof=1),
        "q2_spread": float(np.std(q2, ddof=1)),
        "draws_kept": len(kept),
    }


def _columns(found: Problem, question: Question, names: Sequence[str]) -> list[str]:
    """Columns of the table that the chosen model needs, the target first."""
    own = [c for n in names for c in (found.derived[n].columns if n in found.derived else (n,))]
    return list(dict.fromkeys([question.target, *own]))


def _errors(table: xr.Dataset, column: str) -> F64:
    errors = np.asarray(table[column + ERROR].values, np.float64)
    if (wrong := ~(errors >= 0)).any():
        sample = table["sample"].values[int(np.argmax(wrong))]
        raise InputError(
            f"{column + ERROR} of {sample} is missing or negative; it is the standard uncertainty of {column}"
        )
    units = [str(table[n].attrs.get("units", "")) for n in (column, column + ERROR)]
    if units[0] != units[1]:
        raise InputError(
            f"{column + ERROR} is in {units[1]!r} and {column} in {units[0]!r}: give both in one unit"
        )
    return errors


def _fit(
    found: Problem,
    question: Question,
    names: Sequence[str],
    errors: dict[str, F64],
    rng: np.random.Generator,
) -> Fit | None:
    """The chosen model of drawn columns; none if something is not defined there."""
    columns = {
        c: np.asarray(found.table[c].values, np.float64) for c in _columns(found, question, names)
    }
    drawn = {
        c: v + errors[c] * rng.standard_normal(len(v)) if c in errors else v
        for c, v in columns.items()
    }
    units = {c: str(found.table[c].attrs.get("units", "")) for c in columns}
    features = [
        found.derived[n].of(drawn, units) if n in found.derived else drawn[n] for n in names
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        y = np.log(drawn[question.target]) if question.log_target else drawn[question.target]
    x = np.stack(features, axis=1)
    return Fit(x, y) if np.isfinite(x).all() and np.isfinite(y).all() else None
