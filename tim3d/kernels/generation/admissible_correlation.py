"""The nearest correlation that a field can have, to one that was measured and so is not quite one.

References
----------
Schoenberg, Ann. Math. 39 (1938) 811. DOI 10.2307/1968466
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.lazy import optimize

Floats: TypeAlias = npt.NDArray[np.float64]

# Wave numbers between 0 and the Nyquist frequency of the table; length of the window that ends the
# correlation within its range, as a share of the range; weight of the value at distance 0.
WAVES, WINDOW, AT_ZERO = 129, 0.4, 100.0


def nearest_admissible(distances: Floats, correlation: Floats) -> Floats:
    """Isotropic correlation in space that is nearest to a table by weighted least squares.

    A radial function is a correlation in three dimensions if it is a mixture of sin(kr)/(kr) over
    wave numbers k with weights of 0 or more (Schoenberg 1938). Each wave is multiplied by a
    Gaussian of 0.4 of the range, so that the mixture ends within it; the product is a correlation
    again. The weights fall as 1 / (1 + r/h) with the step h: short distances carry the surface,
    and long ones the noise of a small image.

    Parameters
    ----------
    distances : (n,) array
        Distances, from 0 on in even steps.
    correlation : (n,) array
        Measured correlation, 1 at distance 0.

    Returns
    -------
    (n,) array
        Correlation at the distances, 1 at the first.

    Examples
    --------
    >>> r = np.arange(33.0)
    >>> wanted = np.exp(-((r / 8) ** 2))
    >>> bool(np.abs(nearest_admissible(r, wanted + 0.02 * (r > 16)) - wanted).max() < 0.02)
    True
    """
    step = distances[1]
    waves = np.linspace(0.0, np.pi / step, WAVES)
    mixture = np.sinc(np.outer(distances, waves) / np.pi)
    mixture *= np.exp(-((distances / (WINDOW * distances[-1])) ** 2))[:, None]
    weights = 1 / (1 + distances / step)
    weights[0] = AT_ZERO
    shares, _ = optimize.nnls(mixture * weights[:, None], correlation * weights)
    fitted = mixture @ shares
    return np.asarray(fitted / fitted[0])
