"""A Gaussian process on the chosen features, as a second opinion (scikit-learn)."""

from __future__ import annotations

import warnings

import numpy as np

from tim3d.errors import MissingExtraError
from tim3d.kernels.statistics.regression import F64


def require() -> None:
    """Refuse without scikit-learn.

    Raises
    ------
    MissingExtraError
        If it is not installed; the message says what to type.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "--gaussian-process needs the package scikit-learn, which is not installed. Type  pip "
            "install 'tim3d[relate]'"
        ) from error


def fitted_and_left_out(x: F64, y: F64) -> tuple[F64, F64]:
    """Predictions with all samples, and of each sample without it; each fit finds its own hyperparameters."""
    others = ~np.eye(len(y), dtype=bool)
    left_out = [_predicted(x[keep], y[keep], x[~keep])[0] for keep in others]
    return _predicted(x, y, x), np.array(left_out)


def _predicted(x: F64, y: F64, new: F64) -> F64:
    """Squared-exponential kernel with a length for each feature, a variance, and noise; one start."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    mean, scale = x.mean(axis=0), x.std(axis=0, ddof=1)
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(
        np.full(x.shape[1], 2.0), (0.3, 1e2)
    ) + WhiteKernel(0.1, (1e-6, 1e1))
    model = GaussianProcessRegressor(kernel, normalize_y=True)
    with warnings.catch_warnings():
        # A length at its bound says that a feature does not matter, or matters linearly.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((x - mean) / scale, y)
    return np.asarray(model.predict((new - mean) / scale))
