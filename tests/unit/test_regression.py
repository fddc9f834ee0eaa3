"""Least squares, importance and search against refits, enumerations and printed values."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest

from tim3d.kernels.statistics import importance, model_search, regression
from tim3d.kernels.statistics.regression import Fit


def data(n: int = 14, p: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features of very different sizes, and a target of two of them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p)) @ rng.standard_normal((p, p)) * 10.0 ** np.arange(-3, p - 3)
    y = 5 + x[:, 0] / x[:, 0].std() - 0.7 * x[:, 1] / x[:, 1].std() + 0.3 * rng.standard_normal(n)
    return x, y


def plain(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The textbook: normal columns and a column of ones, solved by an SVD."""
    ones = np.ones((len(x), 1))
    solution, *_ = np.linalg.lstsq(np.hstack([ones, x]), y, rcond=None)
    return np.hstack([np.ones((len(new), 1)), new]) @ solution


def refitted(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Errors of samples that were left out, by refitting."""
    n = len(y)
    kept = [np.delete(np.arange(n), i) for i in range(n)]
    return np.array([y[i] - plain(x[k], y[k], x[[i]])[0] for i, k in enumerate(kept)])


def test_the_fit_is_that_of_the_textbook() -> None:
    x, y = data()
    fit, new = Fit(x, y), x[:3] * 1.1
    assert fit.at(new) == pytest.approx(plain(x, y, new), rel=1e-10)
    assert fit.intercept + new @ fit.slopes == pytest.approx(fit.at(new), rel=1e-10)


def test_left_out_errors_are_those_of_refitting() -> None:
    x, y = data()
    assert Fit(x, y).left_out == pytest.approx(refitted(x, y), abs=1e-11)


def test_standard_errors_and_partial_r2_follow_from_the_normal_equations() -> None:
    x, y = data()
    design = np.hstack([np.ones((len(y), 1)), (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)])
    residuals = y - plain(x, y, x)
    variance = residuals @ residuals / (len(y) - 5)
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))[1:]
    fit = Fit(x, y)
    assert fit.standard_errors == pytest.approx(errors, rel=1e-9)
    without = [np.delete(x, j, axis=1) for j in range(4)]
    sums = np.array([((y - plain(w, y, w)) ** 2).sum() for w in without])
    assert fit.partial_r2 == pytest.approx(1 - (residuals @ residuals) / sums, rel=1e-9)
    # Student's t with 9 degrees of freedom, two-sided 95 %.
    assert fit.half_width(0.95) / errors == pytest.approx(2.262157, rel=1e-6)


def test_q2_against_the_mean_of_the_others_is_computed_from_that_against_all() -> None:
    x, y = data()
    errors = refitted(x, y)
    means = np.array([np.delete(y, i).mean() for i in range(len(y))])
    direct = 1 - (errors**2).sum() / ((y - means) ** 2).sum()
    q2 = regression.r_squared(y, errors)
    assert regression.q_squared_left_out_mean(q2, len(y)) == pytest.approx(direct, rel=1e-12)
    assert regression.q_squared_left_out_mean(0.357, 18) == pytest.approx(0.426, abs=5e-4)


def test_a_sample_that_decides_its_own_fit_has_no_left_out_error() -> None:
    x = np.array([[0.0], [0.0], [0.0], [0.0], [1.0]])
    y = np.array([1.0, 2.0, 3.0, 4.0, 9.0])
    assert Fit(x, y).left_out[-1] == np.inf
    assert model_search.press(x, y, [(0,)])[0] == np.inf


def test_shapley_r2_is_the_mean_gain_over_all_orders() -> None:
    x, y = data()

    def r2(chosen: tuple[int, ...]) -> float:
        return regression.r_squared(y, y - plain(x[:, chosen], y, x[:, chosen])) if chosen else 0.0

    gains = np.zeros(4)
    orders = list(permutations(range(4)))
    for order in orders:
        for place, feature in enumerate(order):
            gains[feature] += r2(order[: place + 1]) - r2(order[:place])
    shares = importance.shapley_r2(x, y)
    assert shares == pytest.approx(gains / len(orders), abs=1e-10)
    assert shares.sum() == pytest.approx(Fit(x, y).r2, rel=1e-12)


def test_shap_is_the_shapley_value_of_a_prediction() -> None:
    x, y = data(p=3)
    fit = Fit(x, y)

    def value(sample: int, known: tuple[int, ...]) -> float:
        """Mean prediction over the samples, where the known features are those of the sample."""
        mixed = x.copy()
        mixed[:, list(known)] = x[sample, list(known)]
        return float(fit.at(mixed).mean())

    for sample in (0, 5):
        parts = np.zeros(3)
        for order in permutations(range(3)):
            for place, feature in enumerate(order):
                parts[feature] += value(sample, order[: place + 1]) - value(sample, order[:place])
        assert importance.linear_shap(x, fit.slopes)[sample] == pytest.approx(parts / 6, rel=1e-9)


def test_inflation_is_that_of_regressions_among_features() -> None:
    x, _ = data()
    others = [np.delete(x, j, axis=1) for j in range(4)]
    r2 = [
        regression.r_squared(x[:, j], x[:, j] - plain(o, x[:, j], o)) for j, o in enumerate(others)
    ]
    assert importance.variance_inflation(x) == pytest.approx(1 / (1 - np.array(r2)), rel=1e-7)
    assert importance.condition_number(np.array([[1.0, 0], [-1, 0], [0, 3], [0, -3]])) == 1


def test_press_of_a_search_is_that_of_each_model_and_target() -> None:
    x, y = data(p=5)
    targets = np.stack([y, y**2, np.arange(len(y))], axis=1)
    candidates = model_search.subsets(5, 1, 3)
    found = model_search.press(x, targets, candidates)
    for row, chosen in enumerate(candidates):
        for column in range(3):
            one = Fit(x[:, list(chosen)], targets[:, column]).left_out
            assert found[row, column] == pytest.approx((one**2).sum(), rel=1e-9)


def test_models_of_dependent_features_are_left_out_and_others_are_not() -> None:
    x, y = data(p=3)
    x[:, 2] = 2 * x[:, 0] - 3 * x[:, 1] + 4
    candidates = model_search.subsets(3, 1, 3)
    found = dict(zip(candidates, model_search.press(x, y, candidates), strict=True))
    assert [c for c, value in found.items() if np.isinf(value)] == [(0, 1, 2)]


def test_nested_predictions_are_those_of_searching_again() -> None:
    x, y = data(n=10, p=4)
    candidates = model_search.subsets(4, 1, 2)

    def search(kept: np.ndarray, asked: int) -> float:
        sums = [(refitted(x[kept][:, c], y[kept]) ** 2).sum() for c in candidates]
        best = list(candidates[int(np.argmin(sums))])
        return float(plain(x[kept][:, best], y[kept], x[[asked]][:, best])[0])

    every = np.arange(10)
    _, nested = model_search.without_each(x, y, candidates, [np.array([i]) for i in every])
    assert nested == pytest.approx([search(np.delete(every, i), i) for i in every], rel=1e-9)
    pairs = model_search.without_pairs(x, y, candidates)
    for i, j in combinations(range(4), 2):
        assert pairs[i, j] == pytest.approx(search(np.delete(every, [i, j]), i), rel=1e-9)
        assert pairs[j, i] == pytest.approx(search(np.delete(every, [i, j]), j), rel=1e-9)


def test_predictions_without_pairs_are_those_of_refitting() -> None:
    x, y = data(n=9, p=2)
    every, found = np.arange(9), Fit(x, y).without_pairs
    for i, j in permutations(range(9), 2):
        kept = np.delete(every, [i, j])
        assert found[i, j] == pytest.approx(plain(x[kept], y[kept], x[[i]])[0], rel=1e-9)
    assert np.isnan(np.diag(found)).all()


def test_an_interval_holds_as_many_new_samples_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(150):
        x = rng.standard_normal((20, 2))
        # Errors with long tails, which Student's t does not have.
        y = x @ [1.0, -2.0] + rng.standard_t(3, 20)
        seen, asked = slice(0, 19), x[19:]
        fits = [Fit(np.delete(x[seen], i, axis=0), np.delete(y[seen], i)) for i in range(19)]
        errors = np.array([y[i] - f.at(x[[i]])[0] for i, f in enumerate(fits)])
        new = np.array([f.at(asked)[0] for f in fits])
        low, high = regression.jackknife_plus(new, errors, 0.9)
        held.append(low <= y[19] <= high)
    assert np.mean(held) == pytest.approx(0.9, abs=0.05)


def test_an_interval_that_needs_more_samples_is_infinite() -> None:
    values, errors = np.zeros(18), np.arange(18.0)
    assert regression.jackknife_plus(values, errors, 0.95) == (-np.inf, np.inf)
    assert regression.fewest_samples(0.95) == 19
    assert regression.jackknife_plus(values[:9], errors[:9], 0.9) == (-8.0, 8.0)


def noise(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 8)), rng.standard_normal((n, 200))


def test_the_best_of_84_models_of_noise_reaches_what_is_printed() -> None:
    """Of 18 samples: median Q² 0.006 and 0.39 in 5 % of cases, by 2 or 3 of 8 features."""
    candidates = model_search.subsets(8, 2, 3)
    assert len(candidates) == 84
    best = np.concatenate(
        [model_search.best_of_shuffled(*noise(18, seed), candidates) for seed in range(10)]
    )
    assert np.median(best) == pytest.approx(0.006, abs=0.05)
    assert np.quantile(best, 0.95) == pytest.approx(0.39, abs=0.05)


def test_the_best_fit_of_154_models_of_noise_is_as_good_as_the_page_says() -> None:
    """Of 15 samples: median R² 0.50, and 0.77 in 5 % of cases, by 2 to 4 of 8 independent features."""
    candidates = [list(c) for c in model_search.subsets(8, 2, 4)]
    assert len(candidates) == 154
    best = []
    for seed in range(5):
        x, targets = noise(15, seed)
        centred = targets - targets.mean(axis=0)
        bases = [np.linalg.qr(x[:, c] - x[:, c].mean(axis=0))[0] for c in candidates]
        r2 = np.array([((q.T @ centred) ** 2).sum(axis=0) for q in bases])
        r2 /= (centred**2).sum(axis=0)
        assert Fit(x[:, candidates[99]], targets[:, 7]).r2 == pytest.approx(r2[99, 7], rel=1e-10)
        best.append(r2.max(axis=0))
    assert np.median(best) == pytest.approx(0.50, abs=0.03)
    assert np.quantile(best, 0.95) == pytest.approx(0.77, abs=0.03)


def test_noise_has_p_values_of_noise_and_a_law_has_not() -> None:
    candidates = model_search.subsets(8, 1, 3)
    values = []
    for seed in range(20):
        x, targets = noise(18, 100 + seed)
        y = targets[:, 0]
        found = 1 - model_search.press(x, y, candidates).min() / ((y - y.mean()) ** 2).sum()
        chance = model_search.best_of_shuffled(x, model_search.shuffled(y, 99, seed), candidates)
        values.append(model_search.permutation_p(float(found), chance))
    assert 0.3 < np.mean(values) < 0.7
    assert sum(p <= 0.05 for p in values) <= 4
    y = x[:, 2] + 0.3 * targets[:, 1]
    found = 1 - model_search.press(x, y, candidates).min() / ((y - y.mean()) ** 2).sum()
    chance = model_search.best_of_shuffled(x, model_search.shuffled(y, 99, 0), candidates)
    assert model_search.permutation_p(float(found), chance) == 0.01


def test_shuffles_within_groups_keep_the_groups() -> None:
    y, groups = np.arange(9.0), np.array([0, 1, 2] * 3)
    found = model_search.shuffled(y, 50, 1, groups)
    for group in range(3):
        members = groups == group
        assert (np.sort(found[members], axis=0) == y[members][:, None]).all()
    assert not (found == y[:, None]).all()


def test_scikit_learn_has_the_same_fit_and_the_same_q2() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="pip install 'tim3d[relate]'")
    from sklearn.metrics import r2_score
    from sklearn.model_selection import LeaveOneOut, cross_val_predict

    x, y = data()
    model = linear.LinearRegression()
    predicted = cross_val_predict(model, x, y, cv=LeaveOneOut())
    fit = Fit(x, y)
    assert regression.r_squared(y, fit.left_out) == pytest.approx(r2_score(y, predicted), rel=1e-9)
    assert fit.slopes == pytest.approx(model.fit(x, y).coef_, rel=1e-8)


def test_statsmodels_has_the_same_press_and_errors() -> None:
    models = pytest.importorskip("statsmodels.api", reason="statsmodels is not installed")
    x, y = data()
    scaled = (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)
    found = models.OLS(y, models.add_constant(scaled)).fit()
    fit = Fit(x, y)
    assert fit.left_out == pytest.approx(found.get_influence().resid_press, rel=1e-9)
    assert fit.standard_errors == pytest.approx(found.bse[1:], rel=1e-9)
