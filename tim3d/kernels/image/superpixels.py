"""Hybrid annotation: pores by a threshold, shine-through in pores by superpixels."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from skimage import segmentation

from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.image.threshold import Grey, Polarity, foreground, is_dark

Labels: TypeAlias = npt.NDArray[np.uint8]

SOLID, PORE, SHINE_THROUGH = 0, 1, 2


def superpixels(grey_slice: Grey, size: float, compactness: float) -> npt.NDArray[np.int64]:
    """Compute SLIC superpixels of one slice, numbered from 0.

    Parameters
    ----------
    grey_slice : array (y, x)
        Grey values; SLIC stretches the range of the slice to 0..1, so one very bright pixel reduces
        the contrast of all others.
    size : float
        Edge in pixels of a square with the area of a superpixel; choose it below the smallest
        relevant feature.
    compactness : float
        Weight of distance relative to grey: large values give squares, small ones follow the noise.

    References
    ----------
    Achanta et al., IEEE Trans. Pattern Anal. 34 (2012) 2274. DOI 10.1109/TPAMI.2012.120

    Examples
    --------
    >>> int(superpixels(np.zeros((20, 30), np.uint8), size=10.0, compactness=0.1).max()) + 1
    6
    """
    if grey_slice.ndim != 2:
        raise InputError(f"superpixels work on one slice (y, x), got shape {grey_slice.shape}")
    check_superpixels(size, compactness)
    count = max(1, round(grey_slice.size / size**2))
    unit = _unit_range(grey_slice)
    found = segmentation.slic(
        unit, n_segments=count, compactness=compactness, channel_axis=None, start_label=0
    )
    return np.asarray(found, dtype=np.int64)


def check_superpixels(size: float, compactness: float) -> None:
    """Raise `ArgumentError` unless superpixels have an edge of a pixel or more, and are compact."""
    if not size >= 1 or not compactness > 0:
        raise ArgumentError(
            f"superpixels need size >= 1 and compactness > 0, got {size} and {compactness}"
        )


def superpixel_means(grey_slice: Grey, regions: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Mean grey value of each superpixel.

    >>> superpixel_means(np.array([[1, 3, 8]]), np.array([[0, 0, 1]])).tolist()
    [2.0, 8.0]
    """
    sums = np.bincount(regions.ravel(), weights=np.asarray(grey_slice, dtype=np.float64).ravel())
    return np.asarray(sums / np.maximum(np.bincount(regions.ravel()), 1))


def hybrid_labels(
    grey_slice: Grey,
    threshold: float,
    superpixel_threshold: float | None = None,
    size: float = 8.0,
    compactness: float = 0.2,
    polarity: Polarity = "dark",
) -> Labels:
    """Label one slice: 0 solid, 1 pore by the threshold, 2 shine-through; pore volume is 1 and 2.

    A pixel is 1 if its own grey is on the pore side of `threshold`, else 2 if the mean grey of its
    superpixel is on the pore side of `superpixel_threshold`. The mean is far less noisy than a
    pixel, so its threshold may be close to the solid's grey. Superpixels are computed per slice:
    the labels of a volume do not depend on its blocks as long as whole slices are given.

    Parameters
    ----------
    grey_slice : array (y, x)
        Grey values.
    threshold : float
        Threshold for pixels, in grey levels, for example `otsu` of the whole volume.
    superpixel_threshold : float, optional
        Threshold for superpixels, in grey levels, for example `second_derivative_peak` of the whole
        volume; the default is `threshold`.
    size, compactness : float
        Size and compactness of the superpixels, see `superpixels`.
    polarity : "dark" or "bright"
        Whether pores are darker or brighter than the solid.

    Returns
    -------
    uint8 array (y, x)

    Raises
    ------
    InputError
        If the slice is not two-dimensional.
    ArgumentError
        If a parameter is out of range, or the superpixel threshold is on the pore side of
        `threshold`.

    References
    ----------
    Hybrid annotation of porous copper, Commun. Mater. (2024). DOI 10.1038/s43246-024-00493-5

    Examples
    --------
    >>> grey = np.full((12, 24), 170, np.uint8)
    >>> grey[:, :6], grey[:, 6:12] = 40, 130
    >>> hybrid_labels(grey, 100, 150)[0, ::4].tolist()
    [1, 1, 2, 0, 0, 0]
    """
    limit = threshold if superpixel_threshold is None else superpixel_threshold
    if (limit < threshold) if is_dark(polarity) else (limit > threshold):
        raise ArgumentError(
            f"superpixel threshold {limit:g} lies on the pore side of threshold {threshold:g} ({polarity} pores); "
            "it must lie between that and the solid's grey"
        )
    regions = superpixels(grey_slice, size, compactness)
    means = superpixel_means(grey_slice, regions)
    shining = foreground(means, limit, polarity)[regions]
    labels = np.where(shining, SHINE_THROUGH, SOLID).astype(np.uint8)
    labels[foreground(grey_slice, threshold, polarity)] = PORE
    return labels


def _unit_range(grey_slice: Grey) -> npt.NDArray[np.float64]:
    values = grey_slice.astype(np.float64)
    if grey_slice.dtype.kind in "ui":
        return np.asarray(values / np.iinfo(str(grey_slice.dtype)).max)
    low, high = values.min(), values.max()
    return np.asarray((values - low) / max(high - low, np.finfo(np.float64).tiny))
