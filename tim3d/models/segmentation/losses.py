"""Losses on logits over labelled pixels; each is 0 for a perfect prediction.

With p the probabilities (softmax over the classes), g 1 in the true class and 0 elsewhere, w the
weight of a class, sums over labelled pixels:

    cross-entropy   sum w_y (-log p_y) / sum w_y
    focal           the same with (1 - p_y)^gamma before the logarithm
    dice            1 - 2 sum(p g) / (sum p + sum g)
    tversky         1 - sum(p g) / (sum(p g) + alpha sum(p (1 - g)) + beta sum((1 - p) g))
    boundary        1 - F1 of the boundaries, which count as found within a tolerance

The last three are of each class, averaged with the weights over all classes, where classes that are
absent count 0.

References
----------
Milletari, Navab, Ahmadi (2016), DOI 10.1109/3DV.2016.79 (Dice); Lin et al. (2017), DOI
10.1109/ICCV.2017.324 (focal); Salehi, Erdogmus, Gholipour (2017), DOI 10.1007/978-3-319-67389-9_44
(Tversky); Bokhovkin, Burnaev (2019), DOI 10.1007/978-3-030-22808-8_38 (boundary).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tim3d.errors import ArgumentError
from tim3d.steps import Step, spelt

if TYPE_CHECKING:
    from torch import Tensor

UNLABELLED = 255
# Least sum that is divided by.
EPS = 1e-7
DEFAULT = ("cross-entropy", "dice")


@dataclass(frozen=True)
class Loss(Step):
    """A loss and its share of the sum.

    Parameters
    ----------
    weight : float
        Factor in the sum of losses.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ArgumentError(
                f"the weight of {self.kind} is {self.weight:g}; it must be finite, above 0"
            )

    @abstractmethod
    def value(self, logits_ncyx: Tensor, labels_nyx: Tensor, weights_c: Tensor | None) -> Tensor:
        """Loss of logits against labels; 255 is unlabelled. Without weights all classes count alike."""


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Mean of -log p of the true class."""

    kind: ClassVar[str] = "cross-entropy"

    def value(self, logits_ncyx: Tensor, labels_nyx: Tensor, weights_c: Tensor | None) -> Tensor:
        """Sum over labelled pixels over the sum of their weights."""
        from torch.nn import functional

        total = functional.cross_entropy(
            logits_ncyx, labels_nyx, weights_c, ignore_index=UNLABELLED, reduction="sum"
        )
        return total / _sum_of_weights(labels_nyx, weights_c)


@dataclass(frozen=True)
class Focal(Loss):
    """Cross-entropy in which pixels that are sure already count less.

    Parameters
    ----------
    gamma : float
        Power of 1 - p; 0 is cross-entropy.
    """

    gamma: float = 2.0
    kind: ClassVar[str] = "focal"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.gamma < math.inf:
            raise ArgumentError(
                f"gamma of focal is {self.gamma:g}; it must be finite and not be below 0"
            )

    def value(self, logits_ncyx: Tensor, labels_nyx: Tensor, weights_c: Tensor | None) -> Tensor:
        """As cross-entropy, each pixel times (1 - p)^gamma."""
        from torch.nn import functional

        surprise = functional.cross_entropy(
            logits_ncyx, labels_nyx, ignore_index=UNLABELLED, reduction="none"
        )
        # Where p is 1 the power has no derivative for gamma below 1.
        unsure = (-(-surprise).expm1()).clamp(min=EPS) ** self.gamma
        each = unsure * surprise
        if weights_c is not None:
            each = each * weights_c[labels_nyx.clamp(max=len(weights_c) - 1)]
        return each.sum() / _sum_of_weights(labels_nyx, weights_c)


@dataclass(frozen=True)
class Dice(Loss):
    """One minus the Dice coefficient of each class."""

    kind: ClassVar[str] = "dice"

    def value(self, logits_ncyx: Tensor, labels_nyx: Tensor, weights_c: Tensor | None) -> Tensor:
        """Mean over the classes."""
        return _tversky(logits_ncyx, labels_nyx, weights_c, 0.5, 0.5)


@dataclass(frozen=True)
class Tversky(Loss):
    """Dice with a price of its own for pixels too many and pixels missed.

    Parameters
    ----------
    alpha : float
        Price of a pixel that is wrongly given to a class.
    beta : float
        Price of a pixel of a class that is missed. 0.5 and 0.5 is Dice.
    """

    alpha: float = 0.3
    beta: float = 0.7
    kind: ClassVar[str] = "tversky"

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.alpha, self.beta) < 0 or not 0 < self.alpha + self.beta < math.inf:
            raise ArgumentError(
                f"alpha {self.alpha:g} and beta {self.beta:g} of tversky must be finite, not below 0, nor both 0"
            )

    def value(self, logits_ncyx: Tensor, labels_nyx: Tensor, weights_c: Tensor | None) -> Tensor:
        """Mean over the classes."""
        return _tversky(logits_ncyx, labels_nyx, weights_c, self.alpha, self.beta)


@dataclass(frozen=True)
class Boundary(Loss):
    """One minus the F1 of the boundary pixels of each class.

    Parameters
    ----------
    pixels : float
        Distance, along y or x, within which a boundary counts as found.
    """

    pixels: float = 2.0
    kind: ClassVar[str] = "boundary"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.pixels >= 1 and float(self.pixels).is_integer()):
            raise ArgumentError(
                f"pixels of boundary is {self.pixels:g}; it is a whole number of 1 or more"
            )

    def value(self, logits_ncyx: Tensor, labels_nyx: Tensor, weights_c: Tensor | None) -> Tensor:
        """Mean over the classes that have a boundary."""
        known = (labels_nyx != UNLABELLED).unsqueeze(1)
        rest = [axis for axis in range(logits_ncyx.ndim) if axis != 1]
        p = logits_ncyx.softmax(1)
        g = _one_hot(labels_nyx, p.shape[1]).to(p.dtype)
        of_p, of_g = _boundary(p, known), _boundary(g, known)
        precision = (of_p * self._near(of_g)).sum(rest) / of_p.sum(rest).clamp_min(EPS)
        recall = (of_g * self._near(of_p)).sum(rest) / of_g.sum(rest).clamp_min(EPS)
        found = 2.0 * precision * recall / (precision + recall).clamp_min(EPS)
        return _over_classes(1.0 - found, of_g.flatten(2), weights_c)

    def _near(self, boundary: Tensor) -> Tensor:
        return _widest(boundary, int(self.pixels))


LOSSES: dict[str, type[Loss]] = {
    one.kind: one for one in (CrossEntropy, Dice, Focal, Tversky, Boundary)
}


def losses_of(words: Sequence[str]) -> tuple[Loss, ...]:
    """Losses of words such as ``focal:gamma=3,weight=0.5``.

    Raises
    ------
    ArgumentError
        If there is none, one is not known or is given twice.
    """
    found = tuple(spelt(text, LOSSES, "loss") for text in words)
    if not found or len({one.kind for one in found}) < len(found):
        raise ArgumentError(
            f"a training needs one or more losses, each given once, not {', '.join(words) or 'none'}; there are "
            f"{', '.join(LOSSES)}"
        )
    return found


def total(
    losses: Sequence[Loss], logits_ncyx: Tensor, labels_nyx: Tensor, weights_c: Tensor | None = None
) -> Tensor:
    """Weighted sum of losses."""
    first, *rest = (
        one.value(logits_ncyx, labels_nyx, weights_c) * (one.weight if one.weight != 1 else 1)
        for one in losses
    )
    return sum(rest, first)


def _sum_of_weights(labels_nyx: Tensor, weights_c: Tensor | None) -> Tensor:
    known = labels_nyx != UNLABELLED
    if weights_c is None:
        return known.sum().clamp(min=1)
    of_pixels = weights_c[labels_nyx.clamp(max=len(weights_c) - 1)]
    return (of_pixels * known).sum().clamp_min(EPS)


def _one_hot(labels_nyx: Tensor, classes: int) -> Tensor:
    """1 in the true class, 0 elsewhere and where nothing is labelled, (n, classes, y, x)."""
    from torch.nn import functional

    plain = labels_nyx.masked_fill(labels_nyx == UNLABELLED, classes)
    return functional.one_hot(plain, classes + 1)[..., :classes].movedim(-1, 1)


def _tversky(
    logits_ncyx: Tensor, labels_nyx: Tensor, weights_c: Tensor | None, alpha: float, beta: float
) -> Tensor:
    """Mean of one minus the Tversky index, in the operations of segmentation-models-pytorch: the same bits."""
    from torch.linalg import vector_norm

    n, classes = logits_ncyx.shape[:2]
    known = (labels_nyx != UNLABELLED).reshape(n, 1, -1)
    p = logits_ncyx.log_softmax(1).exp().reshape(n, classes, -1) * known
    g = _one_hot(labels_nyx, classes).reshape(n, classes, -1).to(p.dtype)
    of_p, of_g = p.sum((0, 2)), g.sum((0, 2))
    both = (of_p + of_g - vector_norm(p - g, ord=1, dim=(0, 2))) / 2
    wrong, missed = of_p - both, of_g - both
    found = both / (both + alpha * wrong + beta * missed).clamp_min(EPS)
    return _over_classes(1.0 - found, g, weights_c)


def _over_classes(loss_c: Tensor, truth_ncp: Tensor, weights_c: Tensor | None) -> Tensor:
    each = loss_c * (truth_ncp.sum((0, 2)) > 0).to(loss_c.dtype)
    if weights_c is None:
        return each.mean()
    return (each * weights_c).sum() / weights_c.sum()


def _boundary(share: Tensor, known: Tensor) -> Tensor:
    """Share of each pixel that is of a class and beside another one; unlabelled pixels do not count as neighbours."""
    outside = (1.0 - share) * known
    return (_widest(outside, 1) - outside).clamp_min(0) * known


def _widest(values: Tensor, reach: int) -> Tensor:
    """Greatest value within a reach along y and x."""
    from torch.nn import functional

    edge = 2 * reach + 1
    if values.ndim == 5:
        return functional.max_pool3d(values, (1, edge, edge), 1, (0, reach, reach))
    return functional.max_pool2d(values, edge, 1, reach)
