"""Variables of a relation: along which dimension each stands, its unit and its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tim3d.lazy import xarray as xr

# Units: "target" is that of the target, "error" the same, or 1 for its logarithm, "" is not said.
TEXTS: dict[str, tuple[tuple[str, ...], str, str]] = {
    # All models.
    "kind": (("model",), "", "regression, law, Gaussian process, or not independent"),
    "parameters": (("model",), "1", "fitted numbers"),
    "r2": (("model",), "1", "R2 of the fit"),
    "r2_adjusted": (("model",), "1", "R2 adjusted for the number of parameters"),
    "q2": (("model",), "1", "Q2 of left-out samples, against the mean of all samples"),
    "q2_left_out_mean": (("model",), "1", "the same, against the mean of the other samples"),
    "left_out_error": (("model",), "error", "root mean square of left-out errors"),
    "largest_inflation": (("model",), "1", "largest variance inflation factor of the features"),
    "condition": (("model",), "1", "condition number of the standardised features"),
    "within_one_error": (
        ("model",),
        "1",
        "mean squared left-out error within one standard error of the best regression's",
    ),
    # Samples.
    "measured": (("sample",), "target", "measured"),
    "fitted": (("sample",), "target", "fitted with all samples"),
    "predicted": (("sample",), "target", "predicted by the chosen features without the sample"),
    "nested": (("sample",), "target", "predicted by a search without the sample"),
    "low": (("sample",), "target", "lower end of the interval of a search without the sample"),
    "high": (("sample",), "target", "upper end of the interval of a search without the sample"),
    "leverage": (("sample",), "1", "leverage in the chosen model"),
    "group": (("sample",), "", "group of the sample"),
    "by_group": (("sample",), "target", "predicted by a search without the group of the sample"),
    # Features of the chosen model.
    "slope": (("feature",), "", "slope, in the units of target and feature"),
    "standardised_slope": (("feature",), "error", "change for a standard deviation of the feature"),
    "standard_error": (("feature",), "error", "standard error of the standardised slope"),
    "half_width": (("feature",), "error", "half width of its interval, Student's t"),
    "partial_r2": (("feature",), "1", "share that the feature explains of what the others leave"),
    "inflation": (("feature",), "1", "variance inflation factor"),
    "shapley_r2": (("feature",), "1", "share of R2, averaged over all orders of the features"),
    "mean_shap": (("feature",), "error", "mean size of the feature's part in a prediction"),
    "slope_spread": (
        ("feature",),
        "",
        "standard deviation of the slope over columns drawn within their uncertainties",
    ),
    "shap": (("sample", "feature"), "error", "the feature's part in the prediction"),
    "value": (("sample", "feature"), "", "value of the feature"),
    "chosen_share": (
        ("candidate",),
        "1",
        "share of the searches without a sample that choose the feature",
    ),
    # The whole.
    "intercept": ((), "error", "value where all features are 0"),
    "q2_nested": ((), "1", "Q2 of searches without the sample"),
    "q2_by_group": ((), "1", "Q2 of searches without the group of the sample"),
    "q2_by_group_chosen": ((), "1", "Q2 of the chosen features without the group of the sample"),
    "q2_spread": (
        (),
        "1",
        "standard deviation of Q2 over columns drawn within their uncertainties",
    ),
    "draws_kept": ((), "1", "draws in which the target and all features are defined"),
    "chance_q2": (("permutation",), "1", "best Q2 of the search on a shuffled target"),
    "p_value": ((), "1", "share of searches on shuffled targets that do as well"),
    "p_value_within": ((), "1", "the same, shuffled within groups"),
    # Samples that took no part.
    "held_out_measured": (("held_out",), "target", "measured; nan if it is not known"),
    "held_out_predicted": (("held_out",), "target", "predicted by the chosen model"),
    "held_out_low": (("held_out",), "target", "lower end of its interval"),
    "held_out_high": (("held_out",), "target", "upper end of its interval"),
    "held_out_inside": (
        ("held_out",),
        "1",
        "whether the chosen features lie within those of the other samples",
    ),
}


def variables(values: Mapping[str, Any], unit: str, *, log_target: bool) -> dict[str, xr.Variable]:
    """Variables with their dimensions, units and meanings.

    Parameters
    ----------
    values : mapping of str to array
        By names of `TEXTS`.
    unit : str
        Unit of the target.
    log_target : bool
        Whether the logarithm of the target is explained.
    """
    units = {"target": unit, "error": "1" if log_target else unit}
    return {
        name: xr.Variable(TEXTS[name][0], np.asarray(value), _attributes(name, units))
        for name, value in values.items()
    }


def _attributes(name: str, units: Mapping[str, str]) -> dict[str, str]:
    _, kind, meaning = TEXTS[name]
    unit = units.get(kind, kind)
    return ({"units": unit} if unit else {}) | {"long_name": meaning}
