"""The answer to a question: all models, the best one, and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tim3d.kernels.statistics import importance, model_search
from tim3d.kernels.statistics.model_search import Subset
from tim3d.kernels.statistics.regression import Fit
from tim3d.lazy import xarray as xr
from tim3d.relating import drawn, models, predictions
from tim3d.relating.problem import Problem
from tim3d.relating.question import Question
from tim3d.relating.variables import variables
from tim3d.version import __version__

Q2 = "1 - sum of squared left-out errors / sum of squares about the mean of all samples"


def answer(found: Problem, question: Question) -> xr.Dataset:
    """Everything that is known of the question, as one Dataset; the same bits in every run.

    Raises
    ------
    InputError
        If a column that a law needs cannot be what it is said to be.
    """
    sums = model_search.press(found.x, found.y, found.candidates)
    chosen = found.candidates[model_search.best(sums)]
    fit = Fit(found.x[:, list(chosen)], found.y)
    names, of_models = models.model_values(found, question, chosen)
    values = {
        **of_models,
        **predictions.of_samples(found, question, fit),
        **_features(fit, question),
        **drawn.spreads(found, question, chosen),
        **models.chance(found, question, sums),
        **predictions.of_groups(found, question, chosen),
        **predictions.of_held_out(found, question, chosen),
    }
    unit = found.unit(question.target)
    made = variables(values, unit, log_target=question.log_target)
    return xr.Dataset(
        made, _coordinates(found, chosen, names, made), _about(found, question, chosen)
    )


def _features(fit: Fit, question: Question) -> dict[str, Any]:
    """Slopes, their errors, and how much each feature matters."""
    shap = importance.linear_shap(fit.x, fit.slopes)
    return {
        "slope": fit.slopes,
        "standardised_slope": fit.standardised,
        "standard_error": fit.standard_errors,
        "half_width": fit.half_width(question.level),
        "partial_r2": fit.partial_r2,
        "inflation": importance.variance_inflation(fit.x),
        "shapley_r2": importance.shapley_r2(fit.x, fit.y),
        "mean_shap": np.abs(shap).mean(axis=0),
        "shap": shap,
        "value": fit.x,
        "intercept": fit.intercept,
    }


def _coordinates(
    found: Problem, chosen: Subset, names: list[str], made: Mapping[str, xr.Variable]
) -> dict[str, Any]:
    named = {
        "sample": found.samples,
        "feature": [found.names[n] for n in chosen],
        "candidate": found.names,
        "held_out": found.held["sample"].values.tolist(),
        "model": names,
    }
    dims = {dim for variable in made.values() for dim in variable.dims}
    return {key: np.array(texts, object) for key, texts in named.items() if key in dims}


def _about(found: Problem, question: Question, chosen: Subset) -> dict[str, Any]:
    searched = predictions.is_searched(found)
    return {
        "kind": "relation",
        "version": __version__,
        "target": question.target,
        "units": found.unit(question.target),
        "scale": "logarithm" if question.log_target else "linear",
        "chosen": models.model_name(found, chosen),
        "samples": len(found.samples),
        "candidates": len(found.names),
        "models": len(found.candidates),
        "level": question.level,
        "intervals": "jackknife+ of searches" if searched else "jackknife+ of the chosen features",
        "q2": Q2,
        "question": question.record(),
    }
