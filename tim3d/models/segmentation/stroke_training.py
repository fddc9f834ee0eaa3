"""Training of a forest on features of painted voxels, by scikit-learn."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, MissingExtraError
from tim3d.kernels.statistics.forest import Forest, forest_of


@dataclass(frozen=True)
class ForestOptions:
    """Options of the forest.

    Parameters
    ----------
    trees, depth, leaf : int
        Trees, most steps to a leaf, and least voxels in one.
    most : int
        Most voxels of a class in the training, drawn from those that are painted.
    seed : int
        Seed of the draw and of the forest.
    """

    trees: int = 100
    depth: int = 12
    leaf: int = 2
    most: int = 50_000
    seed: int = 0

    def check(self) -> None:
        """Raise `ArgumentError` if a number is out of range."""
        for name, least, most in (
            ("trees", 1, 10_000), ("depth", 1, 30), ("leaf", 1, 10**6), ("most", 2, 10**8),
            ("seed", 0, 2**32 - 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if not least <= value <= most:
                raise ArgumentError(f"--{name} {value} is not from {least} to {most}")


def require_sklearn() -> None:
    """Raise `MissingExtraError` without scikit-learn."""
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "train-strokes needs the package scikit-learn, which is not installed. Type  pip install 'tim3d[strokes]'"
        ) from error


def chosen_ranks(painted: int, options: ForestOptions, label: int) -> NDArray[np.int64] | None:
    """Which of the painted voxels of a class are trained on, by their order; None for all."""
    if painted <= options.most:
        return None
    random = np.random.Generator(np.random.Philox([options.seed, label]))
    return np.sort(random.choice(painted, options.most, replace=False, shuffle=False))


def digest(rows: NDArray[np.float32], labels: NDArray[np.uint8]) -> str:
    """SHA-256 of the data of a training."""
    return hashlib.sha256(rows.tobytes() + labels.tobytes()).hexdigest()


def fit_forest(
    rows: NDArray[np.float32], labels: NDArray[np.uint8], classes: int, options: ForestOptions
) -> tuple[Forest, dict[str, Any]]:
    """Train a forest, classes weighted alike.

    Parameters
    ----------
    rows : (n, features) float32
        Features of the painted voxels, in an order that does not depend on how they were read.
    labels : (n,) uint8
        Class of each.
    classes : int
        Number of classes, each of which occurs.
    options : ForestOptions
        Options.

    Returns
    -------
    Forest, dict
        The forest, and the record: options, voxels of each class, out-of-bag score (the share of
        voxels with the right class by the trees that did not see them), and a digest of the data.
    """
    import sklearn
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        options.trees, max_depth=options.depth, min_samples_leaf=options.leaf, class_weight="balanced",
        random_state=options.seed, oob_score=True, n_jobs=1,
    )  # fmt: skip
    with warnings.catch_warnings():
        # With few trees some voxels were seen by all of them: they do not count.
        warnings.simplefilter("ignore", UserWarning)
        forest.fit(rows, labels)
    record = {
        **asdict(options),
        "voxels": np.bincount(labels, minlength=classes).tolist(),
        "out_of_bag": float(forest.oob_score_),
        "sklearn": sklearn.__version__,
        "data_sha256": digest(rows, labels),
    }
    return forest_of([one.tree_ for one in forest.estimators_]), record
