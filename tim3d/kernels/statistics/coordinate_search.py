"""Search of the best values of some parameters, one parameter after the other.

Each parameter in turn gets the value of the highest score while the others stay; rounds are repeated
until one changes nothing, at most `MOST_ROUNDS`. The score never falls, and what is found is a maximum along each
parameter, not over all combinations of values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

# Value of each parameter, in the order of the parameters.
Point: TypeAlias = tuple[Any, ...]
# Scores of some points.
Scoring: TypeAlias = Callable[[Sequence[Point]], Sequence[float]]
MOST_ROUNDS = 8


def best_point(start: Point, values: Mapping[str, Sequence[Any]], scores: Scoring) -> Point:
    """Point with the highest score along each parameter.

    Parameters
    ----------
    start : tuple
        Value of each parameter that the search begins with. A value gives way only to one with a
        higher score, and of several equally good ones the first counts.
    values : mapping of str to sequence
        Values that are tried, by parameter.
    scores : callable
        Returns the scores of some points, which differ in one parameter.

    Examples
    --------
    >>> def scores(points):
    ...     return [-((a - 3) ** 2) - (a - b) ** 2 for a, b in points]
    >>> best_point((0, 0), {"a": range(6), "b": range(6)}, scores)
    (2, 2)
    """
    best = start
    for _ in range(MOST_ROUNDS):
        before = best
        for place, tried in enumerate(values.values()):
            points = [best, *((*best[:place], one, *best[place + 1 :]) for one in tried)]
            found = scores(points)
            best = points[max(range(len(points)), key=lambda n: (found[n], -n))]
        if best == before:
            break
    return best
