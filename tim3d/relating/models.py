"""The table of all models: regressions, laws of physics, and a Gaussian process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tim3d.kernels.statistics import importance, model_search, regression
from tim3d.kernels.statistics.model_search import Subset
from tim3d.kernels.statistics.regression import F64, Fit
from tim3d.relating import gaussian_process, physics
from tim3d.relating.problem import Problem
from tim3d.relating.question import Question

JOINED = " + "
SOLVED = "solved on the volume"


def model_name(found: Problem, subset: Subset) -> str:
    """Names of the features of a model."""
    return JOINED.join(found.names[n] for n in subset)


def model_values(
    found: Problem, question: Question, chosen: Subset
) -> tuple[list[str], dict[str, Any]]:
    """Names of all models, and their values by the names of `tim3d.relating.variables`.

    Raises
    ------
    InputError
        If a column that a law needs cannot be what it is said to be.
    """
    laws = _laws(found, question)
    rows = [_regression(found, subset) for subset in found.candidates]
    rows += [_law(name, values, found, question) for name, values in laws.items()]
    rows += [_process(found, chosen)] if question.gaussian_process else []
    errors = np.stack([row.pop("errors") for row in rows])
    names = [row.pop("name") for row in rows]
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    columns["kind"] = columns["kind"].astype(object)
    sums = np.where(columns["kind"] == "regression", (errors**2).sum(axis=1), np.inf)
    near = model_search.within_one_error(errors, model_search.best(sums))
    return names, {**columns, "within_one_error": near}


def _row(name: str, kind: str, fitted: F64, left_out: F64, y: F64, count: int) -> dict[str, Any]:
    """Row of a model with `count` fitted numbers; `left_out` are errors of left-out samples."""
    n, r2 = len(y), regression.r_squared(y, y - fitted)
    q2 = regression.r_squared(y, left_out)
    return {
        "name": name,
        "kind": kind,
        "parameters": count,
        "r2": r2,
        "r2_adjusted": 1 - (1 - r2) * (n - 1) / (n - count),
        "q2": q2,
        "q2_left_out_mean": regression.q_squared_left_out_mean(q2, n),
        "left_out_error": float(np.sqrt((left_out**2).mean())),
        "largest_inflation": np.nan,
        "condition": np.nan,
        "errors": left_out,
    }


def _regression(found: Problem, subset: Subset) -> dict[str, Any]:
    x, y = found.x[:, list(subset)], found.y
    name, count = model_name(found, subset), len(subset) + 1
    if not np.isfinite(model_search.press(found.x, y, [subset])[0]):
        lost = np.full(len(y), np.inf)
        return _row(name, "not independent", np.full(len(y), np.nan), lost, y, count)
    fit = Fit(x, y)
    return _row(name, "regression", y - fit.residuals, fit.left_out, y, count) | {
        "largest_inflation": float(importance.variance_inflation(x).max()),
        "condition": importance.condition_number(x),
    }


def _process(found: Problem, chosen: Subset) -> dict[str, Any]:
    """A Gaussian process: a length for each feature, a variance and a noise."""
    fitted, left_out = gaussian_process.fitted_and_left_out(found.x[:, list(chosen)], found.y)
    name = f"Gaussian process of {model_name(found, chosen)}"
    return _row(name, "Gaussian process", fitted, found.y - left_out, found.y, len(chosen) + 2)


def _laws(found: Problem, question: Question) -> dict[str, F64]:
    """Relative conductivity by every law; its logarithm if that of the target is taken."""
    columns = {
        role: np.asarray(found.table[name].values, np.float64)
        for role, name in question.physics.items()
    }
    for role, values in columns.items():
        physics.refuse_impossible(role, question.physics[role], values, found.samples)
    laws = physics.relative(columns, question.contrast)
    return {n: np.log(v) if question.log_target else v for n, v in laws.items()}


def _law(name: str, values: F64, found: Problem, question: Question) -> dict[str, Any]:
    factor = _factor(name, found, question)
    fitted, left_out, count = physics.scaled(
        values, found.y, factor, log_target=question.log_target
    )
    full = name if count else f"{name} (nothing fitted)"
    return _row(full, "law", fitted, found.y - left_out, found.y, count)


def _factor(name: str, found: Problem, question: Question) -> float | None:
    """Factor that is known: the bulk conductivity; 1 for a solved value in the target's unit."""
    if name != SOLVED:
        return question.bulk
    of, wanted = found.unit(question.physics["solved"]), found.unit(question.target)
    return 1.0 if of and of == wanted else None


def chance(found: Problem, question: Question, sums: F64) -> Mapping[str, Any]:
    """The permutation test of the whole search, and the same within groups."""
    best = float(1 - sums.min() / ((found.y - found.y.mean()) ** 2).sum())

    def shuffled(groups: Any) -> F64:
        targets = model_search.shuffled(found.y, question.permutations, question.seed, groups)
        return model_search.best_of_shuffled(found.x, targets, found.candidates)

    every = shuffled(None)
    values = {"chance_q2": every, "p_value": model_search.permutation_p(best, every)}
    if found.groups is not None:
        within = shuffled(found.group_numbers)
        values["p_value_within"] = model_search.permutation_p(best, within)
    return values
