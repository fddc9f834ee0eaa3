"""Numbers of a relation are those of the textbook, by least squares of NumPy and refitting without each sample."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import tim3d

COUNT, NAMES = 14, ("a", "b", "c")
DRAW = np.random.default_rng(8)
X = DRAW.normal(size=(COUNT, 3)) * (1.0, 40.0, 0.02) + (0, 900.0, 3.0)
Y = 2 + 3 * X[:, 0] + X[:, 1] / 30 + DRAW.normal(size=COUNT) / 2
# Inside of the range of all three; beyond that of b only; of c only, where b has such numbers.
NEW = np.array([[0.0, 900.0, 3.0], [0.0, 1200.0, 3.0], [0.0, 900.0, 800.0]])


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """The relation of a target to all three features, and what is said of three further samples."""
    path = tmp_path_factory.mktemp("relation") / "t.csv"
    rows = [[f"s{n}", *x, y] for n, (x, y) in enumerate(zip(X, Y, strict=True))]
    rows += [[f"new{n}", *x, 5.0] for n, x in enumerate(NEW)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["sample", *NAMES, "y"], *rows])
    return tim3d.relate(
        path, target="y", fixed=NAMES, hold_out=["new0", "new1", "new2"], level=0.8, permutations=99, draws=100
    )  # fmt: skip


def fitted(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Intercept and slopes."""
    return np.asarray(np.linalg.lstsq(np.column_stack([np.ones(len(y)), x]), y, rcond=None)[0])


def left_out(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Measured less predicted by a fit without the sample."""
    errors = []
    for n in range(len(y)):
        kept = np.arange(len(y)) != n
        intercept, *slopes = fitted(x[kept], y[kept])
        errors.append(y[n] - intercept - x[n] @ slopes)
    return np.array(errors)


INTERCEPT, *SLOPES = fitted(X, Y)
RESIDUALS, ERRORS, SPREAD = Y - INTERCEPT - X @ SLOPES, left_out(X, Y), ((Y - Y.mean()) ** 2).sum()
FREE = COUNT - 4


def test_a_model_is_as_good_as_its_residuals_and_left_out_errors(found: xr.Dataset) -> None:
    one, r2 = found.isel(model=0), 1 - (RESIDUALS**2).sum() / SPREAD
    for name, value in {
        "parameters": 4,
        "r2": r2,
        "r2_adjusted": 1 - (RESIDUALS**2).sum() / FREE / (SPREAD / (COUNT - 1)),
        "q2": 1 - (ERRORS**2).sum() / SPREAD,
        "q2_left_out_mean": 1 - (ERRORS**2).sum() / (left_out(X[:, :0], Y) ** 2).sum(),
        "left_out_error": np.sqrt((ERRORS**2).mean()),
        "largest_inflation": max(inflations()),
    }.items():
        assert float(one[name]) == pytest.approx(value), name
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    assert float(one.condition) == pytest.approx(np.linalg.cond(scaled))


def inflations() -> list[float]:
    """1 / (1 - R²) of each feature by the others."""
    values = []
    for n in range(3):
        others = np.delete(X, n, axis=1)
        intercept, *slopes = fitted(others, X[:, n])
        rest = X[:, n] - intercept - others @ slopes
        values.append(float(((X[:, n] - X[:, n].mean()) ** 2).sum() / (rest**2).sum()))
    return values


def test_features_have_the_slopes_and_errors_of_a_linear_model(found: xr.Dataset) -> None:
    scale = X.std(axis=0, ddof=1)
    design = np.column_stack([np.ones(COUNT), X])
    covariance = np.linalg.inv(design.T @ design) * (RESIDUALS**2).sum() / FREE
    errors = np.sqrt(np.diag(covariance))[1:] * scale
    t = np.array(SLOPES) * scale / errors
    shap = (X - X.mean(axis=0)) * SLOPES
    for name, value in {
        "slope": SLOPES,
        "standardised_slope": np.array(SLOPES) * scale,
        "standard_error": errors,
        "half_width": errors * stats.t.ppf(0.9, FREE),
        "partial_r2": t**2 / (t**2 + FREE),
        "inflation": inflations(),
        "mean_shap": np.abs(shap).mean(axis=0),
    }.items():
        assert found[name].values == pytest.approx(np.array(value)), name
    assert float(found.intercept) == pytest.approx(INTERCEPT)
    assert found.shap.values == pytest.approx(shap)
    assert found["value"].values == pytest.approx(X)
    assert float(found.shapley_r2.sum()) == pytest.approx(float(found.r2[0]))


def test_samples_have_what_was_measured_fitted_and_predicted_without_them(
    found: xr.Dataset,
) -> None:
    design = np.column_stack([np.ones(COUNT), X])
    leverage = np.diag(design @ np.linalg.inv(design.T @ design) @ design.T)
    for name, value in {
        "measured": Y, "fitted": Y - RESIDUALS, "predicted": Y - ERRORS, "nested": Y - ERRORS, "leverage": leverage,
    }.items():  # fmt: skip
        assert found[name].values == pytest.approx(value), name
    assert ((found.low < found.high) & (found.low < Y - ERRORS) & (found.high > Y - ERRORS)).all()


def test_an_interval_is_made_of_the_other_samples_only(found: xr.Dataset) -> None:
    """Barber et al.: of the models without this and one other sample, and the error of that one."""
    for i in range(COUNT):
        ends = []
        for j in (n for n in range(COUNT) if n != i):
            kept = [n for n in range(COUNT) if n not in (i, j)]
            intercept, *slopes = fitted(X[kept], Y[kept])
            at, error = intercept + X[i] @ slopes, abs(Y[j] - intercept - X[j] @ slopes)
            ends.append((at - error, at + error))
        low, high = np.sort(ends, axis=0).T
        place = int(np.ceil(0.8 * COUNT))  # of COUNT - 1 others
        assert float(found.low[i]) == pytest.approx(low[COUNT - 1 - place])
        assert float(found.high[i]) == pytest.approx(high[place - 1])


def test_further_samples_are_predicted_and_said_to_be_outside_by_each_feature(
    found: xr.Dataset,
) -> None:
    assert found.held_out_predicted.values == pytest.approx(INTERCEPT + NEW @ SLOPES)
    assert found.held_out_inside.values.tolist() == [True, False, False]
    assert found.held_out_measured.values.tolist() == [5.0] * 3
    for n, x in enumerate(NEW):
        ends = []
        for i in range(COUNT):
            kept = np.arange(COUNT) != i
            intercept, *slopes = fitted(X[kept], Y[kept])
            ends.append(
                (intercept + x @ slopes - abs(ERRORS[i]), intercept + x @ slopes + abs(ERRORS[i]))
            )
        low, high = np.sort(ends, axis=0).T
        place = int(np.ceil(0.8 * (COUNT + 1)))
        assert float(found.held_out_low[n]) == pytest.approx(low[COUNT - place])
        assert float(found.held_out_high[n]) == pytest.approx(high[place - 1])
