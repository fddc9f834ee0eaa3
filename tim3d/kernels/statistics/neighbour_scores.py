"""Whether generated samples look like real ones, and whether they have their variety, by nearest neighbours.

Samples are vectors of descriptors; the ball of a sample reaches to its k-th nearest neighbour of the
same set. Of two draws of one law none of the scores is 1 by itself: compare with the scores of two
halves of the real samples.

References
----------
Kynkaanniemi et al., NeurIPS (2019), DOI 10.48550/arXiv.1904.06991 (improved precision and recall)
Naeem et al., ICML (2020), DOI 10.48550/arXiv.2002.09797 (density and coverage)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.lazy import spatial

# Neighbours that the references take.
PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS = 3, 5


@dataclass(frozen=True)
class NeighbourScores:
    """Scores of generated samples, without unit.

    Parameters
    ----------
    precision : float
        Share of the generated samples that lie in the ball of a real one: likeness, 0 to 1.
    recall : float
        Share of the real samples that lie in the ball of a generated one: variety, 0 to 1.
    density : float
        Mean number of balls of real samples that a generated one lies in, over k: likeness, 0 or
        more; an outlier among the real samples, whose ball is large, raises it less than precision.
    coverage : float
        Share of the real samples in whose ball a generated one lies: variety, 0 to 1.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbour_scores(
    real: NDArray[np.float64],
    generated: NDArray[np.float64],
    precision_neighbours: int = PRECISION_NEIGHBOURS,
    density_neighbours: int = DENSITY_NEIGHBOURS,
) -> NeighbourScores:
    """Precision, recall, density and coverage of generated samples.

    With B(x) the closed ball around x to its k-th nearest neighbour of its own set, of N real x and M
    generated y: precision = share of y in any B(x), recall = share of x in any B(y), density = (pairs
    with y in B(x)) / (k M), coverage = share of B(x) with any y. Distances are Euclidean: standardise
    the descriptors first.

    Parameters
    ----------
    real, generated : (samples, descriptors) float64
        Vectors of descriptors, about equally many.
    precision_neighbours, density_neighbours : int
        k of precision and recall, and of density and coverage.

    Raises
    ------
    ArgumentError
        If a set has no more samples than k, or vectors have different lengths.

    Examples
    --------
    >>> line = np.arange(10.0)[:, None]
    >>> neighbour_scores(line, line + 0.25)
    NeighbourScores(precision=1.0, recall=1.0, density=1.14, coverage=1.0)
    >>> neighbour_scores(line, line + 100)
    NeighbourScores(precision=0.0, recall=0.0, density=0.0, coverage=0.0)
    """
    if real.shape[1] != generated.shape[1]:
        raise ArgumentError(
            f"real samples have {real.shape[1]} descriptors, generated ones {generated.shape[1]}"
        )
    fewest = min(len(real), len(generated))
    if min(precision_neighbours, density_neighbours) < 1 or fewest <= max(
        precision_neighbours, density_neighbours
    ):
        raise ArgumentError(
            f"{len(real)} real and {len(generated)} generated samples: {precision_neighbours} and {density_neighbours} "
            "neighbours need more of each, and 1 neighbour or more"
        )
    inside = _in_balls(real, generated, density_neighbours)
    return NeighbourScores(
        precision=float(_in_balls(real, generated, precision_neighbours).any(axis=0).mean()),
        recall=float(_in_balls(generated, real, precision_neighbours).any(axis=0).mean()),
        density=float(inside.sum() / (density_neighbours * len(generated))),
        coverage=float(inside.any(axis=1).mean()),
    )


def _in_balls(
    centres: NDArray[np.float64], points: NDArray[np.float64], neighbours: int
) -> NDArray[np.bool_]:
    """Whether a point lies in the ball of a centre, (centres, points)."""
    # The nearest neighbour of a centre in its own set is the centre itself.
    radii = spatial.cKDTree(centres).query(centres, neighbours + 1)[0][:, -1]
    found = np.zeros((len(centres), len(points)), np.bool_)
    for row, inside in zip(
        found, spatial.cKDTree(points).query_ball_point(centres, radii), strict=True
    ):
        row[inside] = True
    return found
