"""Two-sample tests of crops from regions: a classifier, a kernel distance, and relabelled regions.

Crops of one region (a slice, a strip) are alike, and so are not independent. All that is found here
counts regions, not crops: a classifier is tested on regions that it did not learn from, pairs of crops
of one region have no part in the kernel distance, and what chance makes is found by dealing whole
regions to the two samples at random.

References
----------
Lopez-Paz, Oquab, ICLR (2017), DOI 10.48550/arXiv.1610.06545 (classifier two-sample test)
Obuchowski, Biometrics 53 (1997) 567, DOI 10.2307/2533958 (standard error of an area of clustered data)
Gretton et al., J. Mach. Learn. Res. 13 (2012) 723 (unbiased kernel distance)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import MissingExtraError

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

# Folds of the cross-validation, trees of the forest, and the least crops in a leaf.
FOLDS, TREES, LEAF = 4, 100, 2
# A neighbourhood of the picture holds about this many crops, where there are three times as many.
PERPLEXITY = 30.0


@dataclass(frozen=True, eq=False)
class Crops:
    """Features of the crops of both samples.

    Parameters
    ----------
    features : (crops, features) float64
        Features.
    region : (crops,) int64
        Number of the region of each, from 0 over both samples; regions of the second follow those of
        the first.
    first : int
        Number of regions of the first sample.
    """

    features: Floats
    region: Integers
    first: int

    @property
    def regions(self) -> int:
        """Regions of both samples."""
        return int(self.region.max()) + 1


def standardised(features: Floats) -> Floats:
    """Features (crops, features) less their mean, over their standard deviation; 0 where all are equal."""
    spread = features.std(axis=0)
    # Features that rounding alone makes differ are equal.
    level = 1e-9 * np.maximum(1.0, np.abs(features).max(axis=0))
    return np.asarray((features - features.mean(axis=0)) / np.where(spread > level, spread, np.inf))


def require_sklearn() -> None:
    """Raise `MissingExtraError` without scikit-learn."""
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "likeness needs the package scikit-learn, which is not installed. Type  pip install 'tim3d[likeness]'"
        ) from error


@dataclass(frozen=True)
class Area:
    """Area under the curve of a classifier that tells two samples apart.

    Attributes
    ----------
    area : float
        Probability that a crop of the first sample scores higher than one of the second of the same
        fold: .5 by chance, 1 for samples that never look alike.
    error : float
        Its standard error by Obuchowski's formula with regions as clusters; 0 where no score overlaps.
    chance_deviation : float
        Standard deviation by chance, as of Mann and Whitney with one independent score for a region,
        which is as large as the likeness of its crops can make it.
    """

    area: float
    error: float
    chance_deviation: float


def classifier_auc(crops: Crops, seed: int) -> Area:
    """Train forests to tell the samples apart, and test them on regions that they did not learn from.

    Folds are runs of neighbouring regions of both samples; a fold is scored by the forest of the others.

    Parameters
    ----------
    crops : Crops
        Two regions or more of each sample.
    seed : int
        Seed of the forests.

    References
    ----------
    Mann, Whitney, Ann. Math. Stat. 18 (1947) 50, DOI 10.1214/aoms/1177730491
    """
    from sklearn.ensemble import RandomForestClassifier

    of_first = crops.region < crops.first
    fold = _folds(crops)
    above, variance = np.zeros(len(fold)), 0.0
    for number in range(int(fold.max()) + 1):
        own = fold == number
        forest = RandomForestClassifier(TREES, min_samples_leaf=LEAF, random_state=seed, n_jobs=1)
        forest.fit(crops.features[~own], of_first[~own])
        score = forest.predict_proba(crops.features[own])[:, 1]
        above[own] = _placements(score, of_first[own])
        a, b = (len(np.unique(crops.region[own & one])) for one in (of_first, ~of_first))
        weight = (own & of_first).sum() / of_first.sum()
        variance += weight**2 * (a + b + 1) / (12 * a * b)
    area, error = _area(
        above[of_first], crops.region[of_first], above[~of_first], crops.region[~of_first]
    )
    return Area(area, error, float(np.sqrt(variance)))


def _folds(crops: Crops) -> Integers:
    """Fold of each crop: of both samples as many runs of regions as there are folds."""
    second = crops.regions - crops.first
    folds = min(FOLDS, crops.first, second)
    place = np.where(
        crops.region < crops.first,
        crops.region * folds // crops.first,
        (crops.region - crops.first) * folds // second,
    )
    return np.asarray(place, np.int64)


def _placements(score: Floats, of_first: Flags) -> Floats:
    """Share of the other sample that lies on the right side of each crop, equal scores as half."""
    found = np.zeros(len(score))
    for own, sign in ((of_first, 1), (~of_first, -1)):
        others = np.sort(sign * score[~own])
        low, high = (np.searchsorted(others, sign * score[own], side) for side in ("left", "right"))
        found[own] = (low + high) / (2 * len(others))
    return found


def _area(
    first: Floats, first_region: Integers, second: Floats, second_region: Integers
) -> tuple[float, float]:
    area = float(first.mean())
    variance = 0.0
    for above, region in ((first, first_region), (second, second_region)):
        numbers, inverse = np.unique(region, return_inverse=True)
        apart = np.bincount(inverse, above - above.mean())
        count = len(numbers)
        variance += float((apart**2).sum()) * count / (count - 1) / len(above) ** 2
    return area, float(np.sqrt(variance))


@dataclass(frozen=True, eq=False)
class KernelSums:
    """Sums of a Gaussian kernel over pairs of crops of two regions, and numbers of these pairs.

    Parameters
    ----------
    total, pairs : (regions, regions) float64
        Of a region with itself 0: such pairs do not count.
    """

    total: Floats
    pairs: Floats

    @classmethod
    def of(cls, crops: Crops) -> KernelSums:
        """Sums over the crops, region by region.

        The kernel of standardised features x and y is exp(-|x - y|^2 / d) with the mean d of the
        squared distances of all crops, which is twice the number of features that vary.
        """
        values = standardised(crops.features)
        width = 2.0 * max(1, int((values != 0).any(axis=0).sum()))
        groups = [values[crops.region == n] for n in range(crops.regions)]
        total, pairs = np.zeros((len(groups),) * 2), np.zeros((len(groups),) * 2)
        for a, one in enumerate(groups):
            for b, other in enumerate(groups[:a]):
                squares = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
                kernel = np.exp(-np.maximum(squares, 0) / width)
                total[a, b] = total[b, a] = kernel.sum()
                pairs[a, b] = pairs[b, a] = kernel.size
        return cls(total, pairs)

    def distance(self, of_first: Flags) -> float:
        """Squared distance of the samples of regions, unbiased: 0 in the mean for equal ones, at most 2; dimensionless.

        Two regions or more of each sample.
        """
        means = [
            self.total[np.ix_(a, b)].sum() / self.pairs[np.ix_(a, b)].sum()
            for a, b in ((of_first, of_first), (~of_first, ~of_first), (of_first, ~of_first))
        ]
        return float(means[0] + means[1] - 2 * means[2])


@dataclass(frozen=True)
class Chance:
    """Distance by chance: its mean, its standard deviation, and the share that is as large.

    Attributes
    ----------
    mean, spread : float
        Over relabelled regions, in the unit of the distance.
    p_value : float
        (1 + relabellings with a distance as large) / (1 + relabellings).
    """

    mean: float
    spread: float
    p_value: float


def by_chance(
    distance: Callable[[Flags], float], first: int, second: int, relabellings: int, seed: int
) -> tuple[float, Chance]:
    """Distance of two samples of regions, and what it is when regions are dealt out at random; nan if it is nan.

    Parameters
    ----------
    distance : callable
        Distance, given which regions belong to the first sample (regions,).
    first, second : int
        Regions of the samples.
    relabellings : int
        How often regions are dealt out.
    seed : int
        Seed of that.

    Examples
    --------
    >>> values = np.arange(8.0)
    >>> apart = lambda own: float(abs(values[own].mean() - values[~own].mean()))
    >>> found, chance = by_chance(apart, 4, 4, 200, 0)
    >>> found, chance.p_value < 0.1
    (4.0, True)
    """
    random = np.random.Generator(np.random.Philox(seed))
    own = np.arange(first + second) < first
    found = distance(own)
    if math.isnan(found):
        return found, Chance(math.nan, math.nan, math.nan)
    drawn = np.array([distance(random.permutation(own)) for _ in range(relabellings)])
    # Equal choices of regions may differ by rounding.
    as_large = int((drawn >= found - 1e-12 * abs(found)).sum())
    return found, Chance(
        float(drawn.mean()), float(drawn.std(ddof=1)), (1 + as_large) / (1 + relabellings)
    )


def embedded(crops: Floats, seed: int) -> Floats:
    """Places of crops in a picture in which neighbours have like features (t-SNE), without a unit.

    Distances between groups and sizes of groups have no meaning. Computed on one thread, so that the
    same machine gives the same picture.

    Parameters
    ----------
    crops : (crops, features) float64
        Standardised features of four crops or more.
    seed : int
        Seed.

    Returns
    -------
    (crops, 2) float64

    References
    ----------
    van der Maaten, Hinton, J. Mach. Learn. Res. 9 (2008) 2579
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    picture = TSNE(
        perplexity=min(PERPLEXITY, (len(crops) - 1) / 3), init="pca", random_state=seed, n_jobs=1
    )
    with threadpool_limits(1):
        return np.asarray(picture.fit_transform(crops.astype(np.float32)), np.float64)
