"""Objects of an image from its foreground and from how far each pixel is from centre and boundary.

The rule of micro-sam. Distances are those of a network: 0 at the centre of an object, or far within
its boundary, and 1 away from it. With G_s the Gaussian of s pixels:

    inside   G(foreground) > its limit
    seeds    8-connected pieces of G(centre) < its limit, G(boundary) < its limit, inside
    objects  the watershed of G(boundary) from the seeds, 4-connected, inside

Pixels inside that no seed reaches belong to no object.

References
----------
Archit et al. (2025), DOI 10.1038/s41592-024-02580-4;
Beucher and Meyer (1993), The morphological approach to segmentation: the watershed transformation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import watershed

from tim3d.lazy import ndimage

Floats = NDArray[np.float32]
# The Gaussian ends at this many deviations.
CUT = 3.0
# Bytes for each pixel of smoothed maps, seeds and the queue of the watershed: 95 measured where every
# pixel is a seed (512 x 512; the queue is not seen by tracemalloc), 38 on random maps.
PIXEL_BYTES = 112


@dataclass(frozen=True)
class Limits:
    """Limits of the rule.

    Parameters
    ----------
    foreground : float
        A pixel of an object has more of it.
    centre, boundary : float
        A pixel of a seed is nearer than both.
    smooth, smooth_distances : float
        Deviations in pixels of the Gaussians of the foreground and of the distances; 0 for none.
    smallest : int
        Pixels below which an object is left out.
    """

    foreground: float = 0.5
    centre: float = 0.5
    boundary: float = 0.5
    smooth: float = 1.0
    smooth_distances: float = 1.6
    smallest: int = 1


def objects_of(
    foreground: Floats, centre: Floats, boundary: Floats, limits: Limits
) -> NDArray[np.uint32]:
    """Number the objects of an image.

    Parameters
    ----------
    foreground, centre, boundary : array (y, x) of float32
        Share of foreground, and both distances, from 0 to 1.
    limits : Limits
        Limits of the rule.

    Returns
    -------
    array (y, x) of uint32
        Number of the object of each pixel, 0 for none; numbers of objects that are too small are
        left out.

    Examples
    --------
    >>> one = np.zeros((3, 8), np.float32)
    >>> apart = np.array([[0, 0, 0, 1, 1, 0, 0, 0]] * 3, np.float32)
    >>> objects_of(one + 1, one, apart, Limits(smooth=0, smooth_distances=0))[1].tolist()
    [1, 1, 1, 1, 2, 2, 2, 2]
    """
    inside = smoothed(foreground, limits.smooth) > limits.foreground
    heights = smoothed(boundary, limits.smooth_distances)
    middle = smoothed(centre, limits.smooth_distances) < limits.centre
    pieces, _ = ndimage.label(middle & (heights < limits.boundary) & inside, np.ones((3, 3), bool))
    flooded = watershed(heights, pieces, mask=inside)  # type: ignore[no-untyped-call]
    found = np.asarray(flooded, np.uint32)
    small = np.bincount(found.ravel()) < limits.smallest
    found[small[found]] = 0
    return found


def smoothed(values: Floats, deviation: float) -> Floats:
    """Gaussian mean, mirrored at the pixels of the border."""
    if deviation == 0:
        return values
    return np.asarray(
        ndimage.gaussian_filter(values, deviation, mode="mirror", truncate=CUT), np.float32
    )
