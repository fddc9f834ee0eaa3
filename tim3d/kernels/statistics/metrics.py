"""Agreement of labels with the truth: confusion matrices and named ratios of their entries.

Confusion matrices of blocks or images are additive. The name of a ratio states how it averages;
ratios with the same common name ("IoU") differ by more than good methods do. A ratio that is 0/0,
because a class is empty both in the truth and in the prediction, is 1: the prediction is right.

`of_classes` and `of_all` take any number of matrices at once, as the resamples of a bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError, InputError

Matrix: TypeAlias = npt.NDArray[np.int64]
Ratios: TypeAlias = npt.NDArray[np.float64]


def confusion(
    truth: npt.NDArray[np.generic], predicted: npt.NDArray[np.generic], classes: int
) -> Matrix:
    """Confusion matrix: voxels by true class (row) and predicted class (column), int64, additive.

    Parameters
    ----------
    truth, predicted : arrays of one shape
        Classes 0, 1, ...
    classes : int
        Number of classes.

    Raises
    ------
    InputError
        If the shapes differ, a label is not a whole number or lies outside 0 <= label < classes.

    Examples
    --------
    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    if truth.shape != predicted.shape:
        raise InputError(
            f"truth has shape {truth.shape} and prediction {predicted.shape}; they must be equal"
        )
    for name, labels in (("truth", truth), ("prediction", predicted)):
        _check_labels(name, labels, classes)
    pairs = truth.ravel().astype(np.intp) * classes + predicted.ravel().astype(np.intp)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def of_classes(matrices: Matrix) -> dict[str, Ratios]:
    """IoU, Dice, precision and recall of every class.

    Parameters
    ----------
    matrices : (..., classes, classes) int64
        Confusion matrices.

    Returns
    -------
    dict of str to (..., classes) float64
        By name.

    Examples
    --------
    >>> found = of_classes(np.array([[4, 1], [2, 3]]))
    >>> found["iou"].round(4).tolist(), found["recall"].tolist()
    ([0.5714, 0.5], [0.8, 0.6])
    """
    tp, fp, fn = _hits(matrices)
    return {
        "iou": ratio(tp, tp + fp + fn),
        "dice": ratio(2 * tp, 2 * tp + fp + fn),
        "precision": ratio(tp, tp + fp, fn == 0),
        "recall": ratio(tp, tp + fn, fp == 0),
    }


def of_all(matrices: Matrix) -> dict[str, Ratios]:
    """Macro IoU, micro IoU and accuracy over all classes, by name; see the functions so named.

    >>> {name: round(float(v), 4) for name, v in of_all(np.array([[4, 1], [2, 3]])).items()}
    {'iou_macro': 0.5357, 'iou_micro': 0.5385, 'accuracy': 0.7}
    """
    tp, fp, fn = _hits(matrices)
    hits, union = tp.sum(axis=-1), (tp + fp + fn).sum(axis=-1)
    return {
        "iou_macro": ratio(tp, tp + fp + fn).mean(axis=-1),
        "iou_micro": ratio(hits, union),
        "accuracy": ratio(hits, np.asarray(matrices).sum(axis=(-2, -1))),
    }


def iou_foreground(matrix: Matrix, label: int = 1) -> float:
    """Jaccard index of one class, pooled over the whole matrix: TP / (TP + FP + FN).

    Called Jaccard index in the porous-copper paper, Commun. Mater. (2024), DOI
    10.1038/s43246-024-00493-5.

    >>> iou_foreground(np.array([[4, 1], [2, 3]]))
    0.5
    """
    return _of_class("iou", matrix, label)


def iou_macro(matrix: Matrix) -> float:
    """Mean over all classes, background included, of TP / (TP + FP + FN): equal weight per class.

    For a figure per image, average this over the matrices of the images (`mean_over_images`).
    Called IoU by MatSAM, arXiv 2401.05638.

    >>> round(iou_macro(np.array([[4, 1], [2, 3]])), 6)
    0.535714
    """
    return float(of_all(matrix)["iou_macro"])


def iou_micro(matrix: Matrix) -> float:
    """Ratio of sums over all classes, background included: sum TP / sum (TP + FP + FN).

    Every pixel has the same weight.

    Equals accuracy / (2 - accuracy). Called IoU by MicroNet, npj Comput. Mater. 8 (2022) 200,
    DOI 10.1038/s41524-022-00878-5.

    >>> round(iou_micro(np.array([[4, 1], [2, 3]])), 6)
    0.538462
    """
    return float(of_all(matrix)["iou_micro"])


def dice(matrix: Matrix, label: int = 1) -> float:
    """Dice coefficient (F1 score) of one class, pooled over the matrix: 2 TP / (2 TP + FP + FN).

    >>> round(dice(np.array([[4, 1], [2, 3]])), 6)
    0.666667
    """
    return _of_class("dice", matrix, label)


def precision(matrix: Matrix, label: int = 1) -> float:
    """Fraction of the pixels predicted as `label` that are right: TP / (TP + FP).

    1 if the class is empty in truth and prediction; 0 if it occurs in the truth but is never
    predicted.

    >>> precision(np.array([[4, 1], [2, 3]]))
    0.75
    """
    return _of_class("precision", matrix, label)


def recall(matrix: Matrix, label: int = 1) -> float:
    """Fraction of the pixels of class `label` that are predicted as such: TP / (TP + FN).

    1 if the class is empty in truth and prediction; 0 if it does not occur in the truth but is
    predicted.

    >>> recall(np.array([[4, 1], [2, 3]]))
    0.6
    """
    return _of_class("recall", matrix, label)


def accuracy(matrix: Matrix) -> float:
    """Fraction of all pixels whose class is right; one large class alone can make it high.

    >>> accuracy(np.array([[4, 1], [2, 3]]))
    0.7
    """
    return float(of_all(matrix)["accuracy"])


def scores(matrix: Matrix, label: int = 1) -> dict[str, float]:
    """Compute all scores of this module by name, for one foreground class.

    >>> list(scores(np.eye(2, dtype=np.int64)))
    ['iou_foreground', 'iou_macro', 'iou_micro', 'dice', 'precision', 'recall', 'accuracy']
    """
    return {
        "iou_foreground": iou_foreground(matrix, label),
        "iou_macro": iou_macro(matrix),
        "iou_micro": iou_micro(matrix),
        "dice": dice(matrix, label),
        "precision": precision(matrix, label),
        "recall": recall(matrix, label),
        "accuracy": accuracy(matrix),
    }


def mean_over_images(matrices: Iterable[Matrix], label: int = 1) -> dict[str, float]:
    """Average the scores of the images' matrices; the scores of the summed matrix (pooled) differ.

    >>> images = [np.array([[9, 0], [0, 1]]), np.array([[0, 5], [0, 5]])]
    >>> mean_over_images(images)["iou_foreground"], round(iou_foreground(sum(images)), 4)
    (0.75, 0.5455)
    """
    each = [scores(matrix, label) for matrix in matrices]
    if not each:
        raise ArgumentError("no images to average over; give at least one matrix")
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


def _check_labels(name: str, labels: npt.NDArray[np.generic], classes: int) -> None:
    if labels.dtype.kind not in "biu":
        raise InputError(f"{name} is {labels.dtype}; labels must be whole numbers")
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise InputError(
            f"{name} has labels {labels.min()} to {labels.max()}; {classes} classes are 0 to {classes - 1}"
        )


def ratio(part: Matrix, whole: Matrix, empty: npt.ArrayLike = True) -> Ratios:
    """Part / whole, entry by entry; where the whole is 0, 1 if `empty` holds and 0 otherwise.

    >>> ratio(np.array([1, 0, 0]), np.array([4, 0, 0]), np.array([True, True, False])).tolist()
    [0.25, 1.0, 0.0]
    """
    nothing = np.where(np.broadcast_to(empty, np.shape(part)), 1.0, 0.0)
    return np.divide(part, whole, out=nothing, where=np.asarray(whole) != 0)


def _hits(matrices: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """TP, FP and FN of every class."""
    matrices = np.asarray(matrices)
    if matrices.ndim < 2 or matrices.shape[-2] != matrices.shape[-1]:
        raise ArgumentError(f"a confusion matrix is square, got shape {matrices.shape}")
    tp = np.diagonal(matrices, axis1=-2, axis2=-1)
    return tp, matrices.sum(axis=-2) - tp, matrices.sum(axis=-1) - tp


def _of_class(name: str, matrix: Matrix, label: int) -> float:
    found = of_classes(matrix)[name]
    if not 0 <= label < len(found):
        raise ArgumentError(f"class {label} is not in a matrix of {len(found)} classes")
    return float(found[label])
